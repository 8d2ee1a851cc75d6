"""Images and targets of a simulated federation, as tensors in memory.

Axes: N images, H rows, W columns.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.transforms import Compose
from torch import Tensor

from mtmedformer_monai.keys import IMAGE
from mtmedformer_monai.tasks.base import Task
from mtmedformer_monai.transforms import (
    CleanBackgroundd,
    CropBreastd,
    Letterboxd,
    LoadRadiographd,
    LoadTargetsd,
    OrientBreastd,
    StretchContrastd,
)

Items = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Data:
    """Images with the targets of all tasks of a world.

    Attributes:
        image: float32 (N, 1, H, W) in [0, 1].
        targets: {task: float32 (N, ...)}, as the task encodes them; NaN where not annotated.
    """

    image: Tensor
    targets: dict[str, Tensor]

    def __len__(self) -> int:
        return len(self.image)

    def take(self, indices: Sequence[int] | Tensor) -> Data:
        """Returns copies of some images, in the given order."""
        rows = torch.as_tensor(indices, dtype=torch.long)
        return Data(self.image[rows], {task: target[rows] for task, target in self.targets.items()})

    def hide(self, task: str, rows: Sequence[int] | Tensor | None = None) -> Data:
        """Returns the data without a task's annotations, in all rows or in some."""
        target = self.targets[task].clone()
        target[slice(None) if rows is None else torch.as_tensor(rows, dtype=torch.long)] = torch.nan
        return Data(self.image, {**self.targets, task: target})

    def keep(self, tasks: Sequence[str]) -> Data:
        """Returns the data without the annotations of all other tasks."""
        kept = self
        for task in self.targets:
            kept = kept if task in tasks else kept.hide(task)
        return kept

    def labels(self, tasks: Sequence[Task]) -> dict[str, Tensor]:
        """Returns {task: bool (N,)}, whether each image is annotated; tasks without any annotation are omitted."""
        known = {task.name: task.is_annotated(self.targets[task.name]) for task in tasks}
        return {name: each for name, each in known.items() if bool(each.any())}


def join(parts: Sequence[Data]) -> Data:
    """Concatenates data of the same tasks."""
    targets = {task: torch.cat([part.targets[task] for part in parts]) for task in parts[0].targets}
    return Data(torch.cat([part.image for part in parts]), targets)


def load_items(items: Items, tasks: Sequence[Task], size: tuple[int, int], mammograms: bool = False) -> Data:
    """Loads datalist items with absolute paths by the deterministic transforms of the bundles.

    Args:
        items: of a datalist.
        tasks: whose targets are encoded.
        size: (H, W) of the canvas.
        mammograms: whether breasts are oriented and cropped first.
    """
    keys = [IMAGE, *(task.name for task in tasks)]
    breast = [OrientBreastd(keys), CleanBackgroundd(IMAGE), CropBreastd(keys)] if mammograms else []
    load = Compose(
        [LoadRadiographd(IMAGE), LoadTargetsd(tasks), *breast, Letterboxd(keys, size), StretchContrastd(IMAGE)]
    )
    loaded = [load(dict(item)) for item in items]
    rows = {key: torch.stack([_plain(item[key]) for item in loaded]) for key in keys}
    return Data(rows.pop(IMAGE), rows)


def cached(path: Path, make: Callable[[], Any]) -> Any:
    """Returns the content of a file, which is made and written atomically if it does not exist.

    Args:
        path: of the file; its folder is created.
        make: returns tensors, dataclasses and plain values.
    """
    if path.is_file():
        with torch.serialization.safe_globals([Data]):
            return torch.load(path, weights_only=True)
    made = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")
    torch.save(made, unfinished)
    unfinished.replace(path)
    return made


def _plain(value: Any) -> Tensor:
    """Returns a plain float32 copy of a MetaTensor or an array."""
    return torch.as_tensor(value).as_subclass(Tensor).float().clone()
