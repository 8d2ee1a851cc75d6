"""Writes what inference found, a set of files an image."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor
from PIL import Image
from torch import Tensor
from torch.nn import functional

from mtmedformer_monai.io.atomic_files import write_atomically
from mtmedformer_monai.keys import IMAGE, PRED, PROBS, RESULT, MetaKey
from mtmedformer_monai.tasks.base import Task
from mtmedformer_monai.transforms import restore_masks
from mtmedformer_monai.visualization.overlay import Example, draw_prediction

_logger = logging.getLogger(__name__)


class SavePredictions:
    """Writes three files an image, named after it.

    `<name>.json`: findings of all tasks, boxes in the source's pixels, and what the numbers of the label map mean.
    `<name>_labels.png`: the label map, 8 bit, of the source's size.
    `<name>_overlay.png`: a picture for people.

    The evaluator needs the postprocessing that the bundle's inference.json has, and `decollate=True`.

    Args:
        tasks: the network's tasks.
        folder: where the files go.
        overlay: also draw the picture.
    """

    def __init__(self, tasks: Sequence[Task], folder: str, overlay: bool = True) -> None:
        self._tasks = list(tasks)
        self._folder = Path(folder)
        self._overlay = overlay
        self._names: Counter[str] = Counter()

    def attach(self, engine: Engine) -> None:
        """Registers on an evaluator."""
        engine.add_event_handler(Events.STARTED, self._reset)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, self._tell)

    def _reset(self) -> None:
        self._names = Counter()

    def __call__(self, engine: Engine) -> None:
        """Writes the images of the batch at hand."""
        if not isinstance(engine.state.output, list):
            raise ValueError("SavePredictions expects single images, got a batch; set the evaluator's decollate=True.")
        for item in engine.state.output:
            self._write(item)

    def _write(self, item: Mapping[str, Any]) -> None:
        if RESULT not in item:
            raise ValueError("SavePredictions expects findings under 'result'; put DescribeTasksd into postprocessing.")
        image: MetaTensor = item[IMAGE]
        name = self._name(str(image.meta[MetaKey.FILENAME]))
        path = self._folder / name
        report = {"image": Path(str(image.meta[MetaKey.FILENAME])).name, "findings": item[RESULT]}
        report["label_map"] = {str(number): label for number, label in enumerate(label_names(self._tasks))}
        write_atomically(path.with_name(f"{name}.json"), lambda file: file.write(json.dumps(report, indent=2).encode()))
        labels = np.ascontiguousarray(np.asarray(item[PRED]).T)
        write_atomically(
            path.with_name(f"{name}_labels.png"), lambda file: Image.fromarray(labels).save(file, format="PNG")
        )
        if self._overlay:
            draw_prediction(_example(image, item[PROBS]), self._tasks, path.with_name(f"{name}_overlay.png"))

    def _name(self, source: str) -> str:
        """The file's name without ending; numbered where two images of a run share it."""
        stem = Path(source).name
        for ending in (".nii.gz", ".nii", ".dcm", ".dicom", ".png", ".jpeg", ".jpg"):
            if stem.lower().endswith(ending):
                stem = stem[: -len(ending)]
                break
        if idist.get_world_size() > 1:
            stem = f"{stem}_rank{idist.get_rank()}"
        self._names[stem] += 1
        return stem if self._names[stem] == 1 else f"{stem}_{self._names[stem]}"

    def _tell(self) -> None:
        _logger.info("Predictions of %d images in %s.", sum(self._names.values()), self._folder)


def label_names(tasks: Sequence[Task]) -> list[str]:
    """Names of a label map's numbers: background, then the structures of all tasks."""
    structures = [name for task in tasks for name in task.structures]
    return ["background", *structures]


DRAWN_SIDE = 1024
"""Longest side of the picture; larger sources are shrunk for drawing."""


def _example(image: MetaTensor, probs: Mapping[str, Tensor]) -> Example:
    """Image and probabilities in the source's frame, shrunk to a size that is worth drawing."""
    rows, columns = (int(length) for length in image.meta[MetaKey.SOURCE_SHAPE])
    to_source = np.asarray(image.meta[MetaKey.TO_SOURCE], dtype=np.float64)
    source = restore_masks(image.as_tensor().cpu().float(), to_source, (rows, columns))[0]
    scale = min(1.0, DRAWN_SIDE / max(rows, columns))
    drawn = {name: _shrunk(values.float(), scale) for name, values in probs.items()}
    return Example(_shrunk(source[None], scale)[0], {}, drawn)


def _shrunk(values: Tensor, scale: float) -> Tensor:
    """Maps (C, H, W) are resampled, boxes (A, 7 + K) scaled, class probabilities left alone."""
    if scale == 1.0 or values.ndim == 1:
        return values
    if values.ndim == 2:
        return torch.cat([values[:, :4] * scale, values[:, 4:]], dim=1)
    size = [max(1, round(length * scale)) for length in values.shape[1:]]
    return functional.interpolate(values[None], size=size, mode="area")[0]
