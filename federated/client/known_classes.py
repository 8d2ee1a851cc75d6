"""A task at a site that knows some of its classes: what it doesn't know gets no gradient. See `class_union.py`."""

# B batch, A points, N boxes, K classes, L logits

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mtmedformer_monai.tasks.base import Task, TaskMetric
from mtmedformer_monai.tasks.classification import ClassificationTask
from mtmedformer_monai.tasks.detection import DetectionTask
from mtmedformer_monai.tasks.detection_head import LOGITS
from mtmedformer_monai.tasks.partial import annotated_mean, fill_missing, keep_annotated

SMALLEST = 0.01
"""Probability of an ordered class from which on the logarithm goes on as a straight line."""


class KnownClasses(Task):
    """A task of which a site knows some classes: its loss alone differs.

    Args:
        task: a `ClassificationTask` or `DetectionTask`.
        known: names of its classes that the site knows.
    """

    def __init__(self, task: ClassificationTask | DetectionTask, known: Sequence[str]) -> None:
        super().__init__(task.name, task.weight)
        self.primary_figure, self.pyramid_levels = task.primary_figure, task.pyramid_levels
        self._task = task
        self._indices = [index for index, name in enumerate(task.classes) if name in known]
        self.excludes = isinstance(task, ClassificationTask) and task.kind != "multilabel"

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """The task's loss of known classes. Exactly 0 where none is annotated.

        Raises:
            ValueError: a label of a class that the site is said not to know.
        """
        if isinstance(self._task, DetectionTask):
            self._check_known(target[..., 4][target[..., 4] >= 0])
            return loss_of_boxes(self._task, output, target, self._indices)
        if self.excludes:
            self._check_known(target[~torch.isnan(target)])
            return loss_given_known(self._task.kind, output, target, self._indices)
        unknown = [index for index in range(target.shape[1]) if index not in self._indices]
        return self._task.loss(output, target.index_fill(1, torch.tensor(unknown, device=target.device), torch.nan))

    def is_annotated(self, target: Tensor) -> Tensor:
        """Bool (B,): images with an annotation that the site can learn from."""
        if self.excludes and len(self._indices) < 2:
            return torch.zeros(len(target), dtype=torch.bool, device=target.device)
        if not self.excludes and not isinstance(self._task, DetectionTask):
            target = target[:, self._indices]
        return self._task.is_annotated(target)

    def make_decoder(self, channels: Sequence[int], strides: Sequence[int], width: int) -> nn.Module:
        """The task's, for all classes."""
        return self._task.make_decoder(channels, strides, width)

    def activate(self, output: Tensor) -> Tensor:
        """The task's, for all classes."""
        return self._task.activate(output)

    def make_metric(self) -> TaskMetric:
        """The task's, for all classes."""
        return self._task.make_metric()

    def encode_target(self, item: Mapping[str, Any], image_size: tuple[int, int]) -> Tensor:
        """The task's."""
        return self._task.encode_target(item, image_size)

    def describe(self, output: Tensor) -> dict[str, Any]:
        """The task's, for all classes."""
        return self._task.describe(output)

    def _check_known(self, classes: Tensor) -> None:
        if not set(classes.long().tolist()) <= set(self._indices):
            names = [self._task.classes[index] for index in self._indices]
            raise ValueError(
                f"task {self.name!r} expects annotations of the classes {names}, which the site is said to know, got "
                "another; add it to known_classes, or leave these annotations out."
            )


def loss_given_known(kind: str, logits: Tensor, target: Tensor, known: Sequence[int]) -> Tensor:
    """Minus log of a class's probability given that it is a known one.

    Args:
        kind: 'binary', 'multiclass' or 'ordinal'.
        logits: (B, L).
        target: (B,) index of a known class, NaN where not annotated.
        known: indices.

    Returns:
        Scalar, a mean over annotated images; exactly 0 where there are none, or one class alone is known.
    """
    target, annotated = fill_missing(target.float())
    logits = keep_annotated(logits, annotated[:, None])
    is_class = target.long()[:, None] == torch.tensor(known, device=target.device)
    if kind == "ordinal":
        probs = _ordered_probs(logits)[:, known]
        losses = _long_log(probs.sum(dim=1)) - torch.where(is_class, _long_log(probs), 0.0).sum(dim=1)
    else:
        scores = torch.cat([torch.zeros_like(logits), logits], dim=1) if kind == "binary" else logits
        losses = -torch.where(is_class, scores[:, known].log_softmax(dim=1), 0.0).sum(dim=1)
    return annotated_mean(losses, annotated & (len(known) > 1))


def loss_of_boxes(task: DetectionTask, output: Tensor, target: Tensor, known: Sequence[int]) -> Tensor:
    """The loss of a detector that has the known classes alone.

    Args:
        task: of all classes.
        output: rows (B, A, 7 + K).
        target: (B, N, 5), boxes of known classes.
        known: indices.
    """
    keep = [*range(LOGITS.start), *(LOGITS.start + index for index in known)]
    label = target[..., 4]
    moved = label.clone()
    for place, index in enumerate(known):
        moved = torch.where(label == index, float(place), moved)
    alone = DetectionTask(task.name, [task.classes[index] for index in known], box_weight=task.box_weight)
    return alone.loss(output[..., keep], torch.cat([target[..., :4], moved[..., None]], dim=-1))


def _ordered_probs(logits: Tensor) -> Tensor:
    """Differences of the cumulative probabilities, (B, K - 1) to (B, K); below 0 where these rise with the class."""
    above = logits.sigmoid()
    edge = torch.ones_like(above[:, :1])
    return torch.cat([edge, above], dim=1) - torch.cat([above, torch.zeros_like(edge)], dim=1)


def _long_log(probs: Tensor) -> Tensor:
    """Logarithm, and below `SMALLEST` its tangent: the gradient leads back from probabilities of 0 and less."""
    return torch.where(probs > SMALLEST, probs.clamp(min=SMALLEST).log(), math.log(SMALLEST) - 1.0 + probs / SMALLEST)
