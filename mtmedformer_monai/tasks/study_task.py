"""Classification of a breast or a whole study from all of its views."""

# B batch of studies, V views, G groups of views, K classes

from __future__ import annotations

import torch
from torch import Tensor

from mtmedformer_monai.keys import STUDY_VIEWS

from .base import Task
from .classification import ClassificationTask

GROUPS = {"breast": 2, "study": 1}
"""{level: number of groups G} of the views of a study: right and left breast, or all views together."""


class StudyTask:
    """A classification task that fuses views and derives its targets from those of the images.

    Args:
        task: classification task with a unique name and classes in order of increasing severity.
        source: name of the image task whose targets are aggregated.
        level: 'breast' or 'study'.

    Raises:
        ValueError: if the level is unknown, the task is multi-label, or it has the name of the source.
    """

    def __init__(self, task: Task, source: str, level: str) -> None:
        if level not in GROUPS:
            raise ValueError(f"level expects one of {sorted(GROUPS)}, got {level!r}.")
        if not isinstance(task, ClassificationTask) or task.kind == "multilabel":
            raise ValueError(f"task expects a classification that is not multi-label, got {task.name!r}.")
        if task.name == source:
            raise ValueError(f"task expects a unique name, such as '{level}_{source}', got that of its source.")
        self.task = task
        self.source = source
        self.level = level
        self.num_groups = GROUPS[level]

    def gather_target(self, target: Tensor) -> Tensor:
        """Returns the most severe annotated class among the views of each group.

        Args:
            target: float (B, V) class index of each view, NaN where not annotated.

        Returns:
            float (B * G,), NaN if no view of the group is annotated.

        Example:
            >>> worst = ClassificationTask("breast_pathology", ["normal", "benign", "malignant"])
            >>> task = StudyTask(worst, "pathology", "breast")
            >>> task.gather_target(torch.tensor([[0.0, 2.0, torch.nan, torch.nan]]))
            tensor([2., nan])
        """
        grouped = target.reshape(-1, len(STUDY_VIEWS) // self.num_groups)
        worst = grouped.nan_to_num(nan=-1.0).amax(dim=1)
        return torch.where(worst >= 0, worst, torch.full_like(worst, torch.nan))
