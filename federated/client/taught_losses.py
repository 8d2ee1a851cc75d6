"""Losses of tasks whose labels are completed, or whose outputs are pulled towards a teacher's.

Both replace `HybridLoss.task_loss` for a round. A batch without completed labels and teachers' outputs has exactly the
tasks' own losses.
"""

# B batch, C structures, K classes, A anchor points, L logits

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from mtmedformer_monai.keys import BoxRow
from mtmedformer_monai.losses.hybrid import annotated_loss
from mtmedformer_monai.tasks.base import Task
from mtmedformer_monai.tasks.classification import ClassificationTask
from mtmedformer_monai.tasks.detection import POSITIVE, DetectionTask, generalized_iou, soft_focal
from mtmedformer_monai.tasks.partial import annotated_mean, keep_annotated
from mtmedformer_monai.tasks.segmentation import SegmentationTask

from .completed_labels import COMPLETED
from .completion import lacking, spread

TEACHER = ".teacher"
"""Suffix of a task's name: key of a batch's targets with the teacher's raw output."""

Batch = Mapping[str, Tensor]


class CompletedLoss:
    """Weighted mean of the losses of own and of completed labels.

    With `n_o` own and `n_c` completed labels (pixels of masks, else images or labels), the loss of a task is
    `(n_o L_o + weight n_c L_c) / (n_o + n_c)`. At weight 1 this is the loss as if all labels were own ones.

    Args:
        weight: of a completed label.
    """

    def __init__(self, weight: float) -> None:
        self._weight = weight

    def __call__(self, task: Task, outputs: Batch, targets: Batch) -> Tensor:
        """Returns the scalar loss of a task."""
        completed = targets.get(f"{task.name}{COMPLETED}")
        if completed is None or self._weight == 1.0:
            return annotated_loss(task, outputs, targets)
        output, target = outputs[task.name], targets[task.name]
        parts = spread(completed.bool(), target)
        own, added = target.masked_fill(parts, torch.nan), target.masked_fill(~parts, torch.nan)
        n_own, n_added = (~own.isnan()).sum(), (~added.isnan()).sum()
        total = n_own * task.loss(output, own) + self._weight * n_added * task.loss(output, added)
        return total / (n_own + n_added).clamp(min=1)


class DistilledLoss:
    """Loss of own labels plus a distillation loss of what an image lacks labels for.

    Images for which the teacher's output is NaN are not distilled.

    Args:
        weight: of the distillation loss.
        temperature: that divides the logits of both networks, for masks and classes.
    """

    def __init__(self, weight: float, temperature: float) -> None:
        self._weight, self._temperature = weight, temperature

    def __call__(self, task: Task, outputs: Batch, targets: Batch) -> Tensor:
        """Returns the scalar loss of a task."""
        own, teacher = annotated_loss(task, outputs, targets), targets.get(f"{task.name}{TEACHER}")
        if teacher is None:
            return own
        missing = lacking(task, targets[task.name])
        missing = missing & spread(~teacher.flatten(1).isnan().any(dim=1), missing)
        return own + self._weight * distillation_loss(task, outputs[task.name], teacher, missing, self._temperature)


def distillation_loss(task: Task, output: Tensor, teacher: Tensor, missing: Tensor, temperature: float) -> Tensor:
    """Returns the distance of a task's output from a teacher's, averaged over what is missing; 0 if nothing is.

    Masks: the task's own loss (Dice and cross-entropy) with the teacher's probabilities as target, both at the
    temperature. Classes: cross-entropy with the teacher's probabilities, likewise (Hinton et al., arXiv 1503.02531, eq.
    2). Boxes: the detection loss with the teacher's score map and boxes in place of Gaussians around annotated boxes;
    its scores are no class distribution, so they have no temperature.

    Args:
        task: of one of the kinds that `completable` returns.
        output: raw output (B, ...).
        teacher: raw output of the teacher, of the same shape.
        missing: bool (B, C), (B, K) or (B,), as returned by `lacking`.
        temperature: above 0.
    """
    if isinstance(task, SegmentationTask):
        target = (teacher.float() / temperature).sigmoid()
        return task.loss(output / temperature, torch.where(spread(missing, target), target, torch.nan))
    if isinstance(task, DetectionTask):
        return _boxes(task, output, teacher, missing)
    if not isinstance(task, ClassificationTask):
        raise TypeError(f"task {task.name!r} expects masks, boxes or classes, got {type(task).__name__}.")
    known = missing if missing.ndim == 2 else missing[:, None].expand_as(output)
    logits, target = (keep_annotated(each, known) / temperature for each in (output, teacher))
    if task.kind == "multiclass":
        return annotated_mean(F.cross_entropy(logits, target.softmax(dim=1), reduction="none"), missing)
    losses = F.binary_cross_entropy_with_logits(logits, target.sigmoid(), reduction="none")
    return annotated_mean(losses, known)


def _boxes(task: DetectionTask, output: Tensor, teacher: Tensor, missing: Tensor) -> Tensor:
    output, teacher = (keep_annotated(each, missing[:, None, None]) for each in (output, teacher))
    scores = teacher[..., BoxRow.LOGITS].sigmoid()
    strength = scores.amax(dim=2)
    strength = torch.where(strength >= POSITIVE, strength, 0.0)
    focal = soft_focal(output[..., BoxRow.LOGITS], scores).sum(dim=2).sum(dim=1)
    overlap = generalized_iou(output[..., BoxRow.BOX], teacher[..., BoxRow.BOX])
    regression = ((1.0 - overlap) * strength).sum(dim=1)
    return annotated_mean((focal + task.box_weight * regression) / strength.sum(dim=1).clamp(min=1.0), missing)
