"""Batches with what the losses of `taught_losses.py` need; each wraps a trainer's `prepare_batch`."""

# B batch

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mtmedformer_monai.tasks.base import Task

from .completed_labels import COMPLETED
from .completion import lacking, spread
from .taught_losses import TEACHER

Predict = Callable[[Tensor], Mapping[str, Tensor]]
"""Maps an image to the teachers' raw outputs by task."""


class WithCompletedParts:
    """Adds to the targets which parts of them are completed.

    Args:
        prepare_batch: of the trainer.
        tasks: whose labels may be completed.
    """

    def __init__(self, prepare_batch: Any, tasks: Sequence[Task]) -> None:
        self._prepare_batch, self._names = prepare_batch, [f"{task.name}{COMPLETED}" for task in tasks]

    def __call__(
        self, batchdata: Mapping[str, Any], device: Any = None, non_blocking: bool = False, **kwargs: Any
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns image and targets on the device."""
        image, targets = self._prepare_batch(batchdata, device, non_blocking, **kwargs)
        parts = {name: batchdata[name].to(device) for name in self._names if name in batchdata}
        return image, {**targets, **parts}


class WithTeachers:
    """Adds the teachers' outputs to the targets of a batch that lacks labels.

    They are NaN for black images, the placeholders of unreadable ones.

    Args:
        prepare_batch: of the trainer.
        tasks: that are taught.
        predict: runs the teachers.
    """

    def __init__(self, prepare_batch: Any, tasks: Sequence[Task], predict: Predict) -> None:
        self._prepare_batch, self._tasks, self._predict = prepare_batch, list(tasks), predict

    def __call__(
        self, batchdata: Mapping[str, Any], device: Any = None, non_blocking: bool = False, **kwargs: Any
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns image and targets on the device."""
        image, targets = self._prepare_batch(batchdata, device, non_blocking, **kwargs)
        names = [task.name for task in self._tasks if bool(lacking(task, targets[task.name]).any())]
        outputs = self._predict(image) if names else {}
        blank = ~torch.as_tensor(image).as_subclass(Tensor).flatten(1).any(dim=1)
        taught = {
            f"{name}{TEACHER}": outputs[name].masked_fill(spread(blank, outputs[name]), torch.nan) for name in names
        }
        return image, {**targets, **taught}
