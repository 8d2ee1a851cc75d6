"""Completed labels of a client's images during one round, kept small in memory.

Masks are kept with 8 bits per pixel, deflated: a hard mask takes below 1 kB, a soft one a fraction of its
pixels. The labels of all images stay below one byte per pixel and structure in any case.
"""

# C structures, K classes

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mtmedformer_monai.keys import BoxRow
from mtmedformer_monai.tasks.base import Task

from .completion import Completed, lacking, spread

COMPLETED = ".completed"
"""Suffix of a task's name: key of an item or a batch that states which parts of the target are completed."""

_STEPS = 254
"""Number of steps of a soft mask from 0 to 1; 0 and 1 are exact."""
_UNSURE = 255
"""Code of pixels without label."""

Packed = tuple[Tensor, Any]
"""Completed parts of one image's target, and its values: codes and shape of masks, or a tensor."""


class CompletedLabels:
    """Labels that replace missing ones when an image is loaded, before its random transforms.

    Args:
        tasks: tasks whose labels may be completed; each loaded item states its completed parts of all of them.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._tasks = list(tasks)
        self._packed: dict[int, dict[str, Packed]] = {}
        self._found: dict[str, Tensor] = {}

    def add(self, indices: Sequence[int], found: Mapping[str, Completed]) -> None:
        """Adds a batch.

        Args:
            indices: of the images in the dataset.
            found: {task: completed target (B, ...) and completed parts}.
        """
        for name, (target, completed) in found.items():
            present = _present(target, completed).any(dim=0).cpu()
            self._found[name] = self._found[name] | present if name in self._found else present
            for index, values, parts in zip(indices, target.cpu(), completed.cpu(), strict=True):
                if bool(parts.any()):
                    self._packed.setdefault(index, {})[name] = _pack(values, parts)

    def drop_never_found(self) -> None:
        """Drops structures, and boxes of a task, that were found in none of the images.

        A network that has not learned a structure yet finds it nowhere, and would teach others the same.
        """
        for index, by_task in list(self._packed.items()):
            kept = {}
            for name, (parts, values) in by_task.items():
                still = parts & self._found[name]
                if bool(still.any()):
                    kept[name] = (still, values)
            self._packed[index] = kept

    def count(self, task: str) -> int:
        """Returns the number of images with a completed label of a task."""
        return sum(task in found for found in self._packed.values())

    def mark(self, task: str, num_images: int) -> Tensor:
        """Returns which images have a completed label of a task, bool (N,)."""
        return torch.tensor([task in self._packed.get(index, {}) for index in range(num_images)], dtype=torch.bool)

    def num_bytes(self) -> int:
        """Returns the memory of all values."""
        packed = (values for found in self._packed.values() for _, values in found.values())
        return sum(len(each[0]) if isinstance(each, tuple) else each.nbytes for each in packed)

    def __call__(self, index: int, item: dict[str, Any]) -> dict[str, Any]:
        """Returns an item with its completed targets, and which parts are completed.

        Args:
            index: of the image in the dataset.
            item: after the deterministic transforms, or the placeholder of an unreadable image.
        """
        found, merged = self._packed.get(index, {}), dict(item)
        for task in self._tasks:
            own = torch.as_tensor(item[task.name]).as_subclass(Tensor)
            parts = torch.zeros_like(lacking(task, own[None])[0])
            if task.name in found:
                parts, values = found[task.name]
                merged[task.name] = torch.where(spread(parts, own), _unpack(values), own)
            merged[f"{task.name}{COMPLETED}"] = parts
        return merged


def _present(target: Tensor, completed: Tensor) -> Tensor:
    """Returns which completed parts state that something is there; true for each class label.

    Args:
        target: masks (B, C, H, W), rows of boxes (B, N, 5), or classes.
        completed: bool (B, C), (B,), or (B, K).
    """
    if target.ndim == 4:
        return completed & (target >= 0.5).flatten(2).any(dim=2)  # False for NaN
    return completed & (target[..., BoxRow.CLASS] >= 0).any(dim=1) if target.ndim == 3 else torch.ones_like(completed)


def _pack(values: Tensor, parts: Tensor) -> Packed:
    if values.ndim < 3:
        return parts.clone(), values.clone()
    codes = torch.where(values.isnan(), _UNSURE, (values * _STEPS).round()).to(torch.uint8)
    kept = torch.where(spread(parts, codes), codes, 0)
    return parts.clone(), (zlib.compress(kept.contiguous().numpy().tobytes(), level=1), tuple(values.shape))


def _unpack(values: Any) -> Tensor:
    if isinstance(values, Tensor):
        return values
    codes = torch.from_numpy(np.frombuffer(zlib.decompress(values[0]), dtype=np.uint8).copy()).reshape(values[1])
    return torch.where(codes == _UNSURE, torch.nan, codes.float() / _STEPS)
