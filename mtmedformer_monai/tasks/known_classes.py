"""A task at a client that knows only some of its classes: unknown classes get no gradient. See `class_union.py`."""

# B batch, K classes, L logits

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .base import Task, TaskMetric
from .partial import annotated_mean, fill_missing, keep_annotated

SMALLEST = 0.01
"""Probability of an ordered class below which the logarithm continues as a straight line."""

RestrictedLoss = Callable[[Any, Tensor, Tensor, Sequence[int]], Tensor]
"""Task, output, target and indices of the known classes to the scalar loss."""

RestrictedAnnotated = Callable[[Any, Tensor, Sequence[int]], Tensor]
"""Task, target and indices of the known classes to bool (B,)."""


class KnownClasses(Task):
    """A task of which a client knows some classes: only the loss differs. Made by `Task.restrict`.

    Args:
        task: of all classes.
        known: indices of the classes that the client knows.
        loss: of the known classes.
        is_annotated: which images have an annotation that the client can learn from.
    """

    def __init__(
        self, task: Task, known: Sequence[int], loss: RestrictedLoss, is_annotated: RestrictedAnnotated
    ) -> None:
        super().__init__(task.name, task.weight)
        self.primary_metric, self.pyramid_levels = task.primary_metric, task.pyramid_levels
        self.classes, self.structures = task.classes, task.structures
        self.has_boxes, self.describes_image = task.has_boxes, task.describes_image
        self._task, self._known, self._loss, self._is_annotated = task, list(known), loss, is_annotated

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """The task's loss of known classes. Exactly 0 where none is annotated.

        Raises:
            ValueError: a label of a class that the client is said not to know.
        """
        return self._loss(self._task, output, target, self._known)

    def is_annotated(self, target: Tensor) -> Tensor:
        """Bool (B,): images with an annotation that the client can learn from."""
        return self._is_annotated(self._task, target, self._known)

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

    def describe_target(self, target: Tensor) -> dict[str, Any]:
        """The task's."""
        return self._task.describe_target(target)

    def negative_log_likelihood(self, output: Tensor, target: Tensor) -> Tensor:
        """The task's, for all classes."""
        return self._task.negative_log_likelihood(output, target)

    def combine_samples(self, samples: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The task's, for all classes."""
        return self._task.combine_samples(samples)


def exclusive_loss(task: Any, output: Tensor, target: Tensor, known: Sequence[int]) -> Tensor:
    """Loss of a classification whose classes exclude one another; see `loss_given_known`."""
    check_known(task, target[~torch.isnan(target)], known)
    return loss_given_known(task.kind, output, target, known)


def exclusive_annotated(task: Task, target: Tensor, known: Sequence[int]) -> Tensor:
    """A client that knows a single class has nothing to tell it from."""
    if len(known) < 2:
        return torch.zeros(len(target), dtype=torch.bool, device=target.device)
    return task.is_annotated(target)


def known_labels_loss(task: Task, output: Tensor, target: Tensor, known: Sequence[int]) -> Tensor:
    """Loss of a multi-label classification: unknown labels (B, K) count as not annotated."""
    unknown = [index for index in range(target.shape[1]) if index not in known]
    return task.loss(output, target.index_fill(1, torch.tensor(unknown, device=target.device), torch.nan))


def known_labels_annotated(task: Task, target: Tensor, known: Sequence[int]) -> Tensor:
    """Images with one of the known labels."""
    return task.is_annotated(target[:, list(known)])


def check_known(task: Task, classes: Tensor, known: Sequence[int]) -> None:
    """Checks that annotations are of known classes.

    Args:
        task: of all classes.
        classes: indices of annotated classes, any shape.
        known: indices of the known classes.

    Raises:
        ValueError: an annotation of another class.
    """
    if not set(classes.long().flatten().tolist()) <= set(known):
        names = [task.classes[index] for index in known]
        raise ValueError(
            f"task {task.name!r} expects annotations of the classes {names}, which the site is said to know, got "
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


def _ordered_probs(logits: Tensor) -> Tensor:
    """Differences of the cumulative probabilities, (B, K - 1) to (B, K); below 0 where these rise with the class."""
    above = logits.sigmoid()
    edge = torch.ones_like(above[:, :1])
    return torch.cat([edge, above], dim=1) - torch.cat([above, torch.zeros_like(edge)], dim=1)


def _long_log(probs: Tensor) -> Tensor:
    """Logarithm, and below `SMALLEST` its tangent: the gradient leads back from probabilities of 0 and less."""
    return torch.where(probs > SMALLEST, probs.clamp(min=SMALLEST).log(), math.log(SMALLEST) - 1.0 + probs / SMALLEST)
