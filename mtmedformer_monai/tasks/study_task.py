"""A class of a breast or of a whole study, told from all of its views."""

# B batch of studies, V views, G groups of views, K classes

from __future__ import annotations

import torch
from torch import Tensor

from mtmedformer_monai.keys import STUDY_VIEWS

from .base import Task
from .classification import ClassificationTask

GROUPS = {"breast": 2, "study": 1}
"""Level to G, the groups that a study's views fall into: right and left breast, or all views together."""


class StudyTask:
    """A classification that fuses views, with targets out of those of the images.

    Args:
        task: what is told, under a name of its own; its classes in rising severity.
        source: the image task whose targets it gathers.
        level: 'breast' or 'study'.

    Raises:
        ValueError: unknown level, a multi-label task, or a name that is the source's.
    """

    def __init__(self, task: Task, source: str, level: str) -> None:
        if level not in GROUPS:
            raise ValueError(f"level expects one of {sorted(GROUPS)}, got {level!r}.")
        if not isinstance(task, ClassificationTask) or task.kind == "multilabel":
            raise ValueError(f"task expects a classification that is not multi-label, got {task.name!r}.")
        if task.name == source:
            raise ValueError(f"task expects a name of its own, such as '{level}_{source}', got that of its source.")
        self.task = task
        self.source = source
        self.level = level
        self.num_groups = GROUPS[level]

    def gather_target(self, target: Tensor) -> Tensor:
        """The worst class that is annotated among a group's views.

        Args:
            target: float (B, V) class index of each view, NaN where not annotated.

        Returns:
            float (B * G,), NaN where no view is annotated.

        Example:
            >>> worst = ClassificationTask("breast_pathology", ["normal", "benign", "malignant"])
            >>> task = StudyTask(worst, "pathology", "breast")
            >>> task.gather_target(torch.tensor([[0.0, 2.0, torch.nan, torch.nan]]))
            tensor([2., nan])
        """
        grouped = target.reshape(-1, len(STUDY_VIEWS) // self.num_groups)
        worst = grouped.nan_to_num(nan=-1.0).amax(dim=1)
        return torch.where(worst >= 0, worst, torch.full_like(worst, torch.nan))
