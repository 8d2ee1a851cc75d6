"""Splits a batch of studies into the network input and the targets of image and study tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.engines import PrepareBatch
from torch import Tensor

from mtmedformer_monai.tasks.base import Task
from mtmedformer_monai.tasks.study_task import StudyTask

from .prepare_batch import PrepareMultiTaskBatch


class PrepareStudyBatch(PrepareBatch):
    """Returns `(image, {task: target})` of studies for MONAI's stock engines.

    `image`: float32 (B, V, H, W), NaN where a view is missing. Targets of image tasks: (B * V, ...); targets of study
    tasks: (B * G,); NaN where not annotated.

    Args:
        tasks: tasks of single images.
        study_tasks: tasks whose targets are derived from those of the images.
        require_targets: see `PrepareMultiTaskBatch`.
    """

    def __init__(self, tasks: Sequence[Task], study_tasks: Sequence[StudyTask], require_targets: bool = True) -> None:
        self._study_tasks = list(study_tasks)
        self._prepare = PrepareMultiTaskBatch(tasks, require_targets, keep_meta=False)

    def __call__(
        self,
        batchdata: Mapping[str, Any],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Moves one batch to the device. See `PrepareMultiTaskBatch` for arguments and errors."""
        image, by_view = self._prepare(batchdata, device, non_blocking, **kwargs)
        targets = {name: target.flatten(0, 1) for name, target in by_view.items()}
        for study_task in self._study_tasks:
            if study_task.source in by_view:
                targets[study_task.task.name] = study_task.gather_target(by_view[study_task.source])
        return image, targets
