"""Tasks for clients that annotate only some of the classes; unknown classes get no gradient. See `class_union.py`."""

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
"""Probability of an ordinal class below which the logarithm is extended linearly."""

RestrictedLoss = Callable[[Any, Tensor, Tensor, Sequence[int]], Tensor]
"""Computes the scalar loss from task, output, target and indices of the known classes."""

RestrictedAnnotated = Callable[[Any, Tensor, Sequence[int]], Tensor]
"""Computes which images are annotated, bool (B,), from task, target and indices of the known classes."""


class KnownClasses(Task):
    """A task restricted to the classes that a client annotates; only the loss differs. Created by `Task.restrict`.

    Args:
        task: task with all classes.
        known: indices of the known classes.
        loss: loss over the known classes.
        is_annotated: determines which images have an annotation that contributes to the loss.
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
        """Returns the loss over known classes; exactly 0 if none is annotated.

        Raises:
            ValueError: if there is an annotation of a class that is not declared as known.
        """
        return self._loss(self._task, output, target, self._known)

    def is_annotated(self, target: Tensor) -> Tensor:
        """Returns which images have an annotation that contributes to the loss, bool (B,)."""
        return self._is_annotated(self._task, target, self._known)

    def make_decoder(self, channels: Sequence[int], strides: Sequence[int], width: int) -> nn.Module:
        """Builds the decoder for all classes."""
        return self._task.make_decoder(channels, strides, width)

    def activate(self, output: Tensor) -> Tensor:
        """Converts an output to probabilities of all classes."""
        return self._task.activate(output)

    def make_metric(self) -> TaskMetric:
        """Builds the metric for all classes."""
        return self._task.make_metric()

    def encode_target(self, item: Mapping[str, Any], image_size: tuple[int, int]) -> Tensor:
        """Encodes annotations like the unrestricted task."""
        return self._task.encode_target(item, image_size)

    def describe(self, output: Tensor) -> dict[str, Any]:
        """Returns the findings over all classes."""
        return self._task.describe(output)

    def describe_target(self, target: Tensor) -> dict[str, Any]:
        """Returns the annotation like the unrestricted task."""
        return self._task.describe_target(target)

    def negative_log_likelihood(self, output: Tensor, target: Tensor) -> Tensor:
        """Returns the negative log-likelihood over all classes."""
        return self._task.negative_log_likelihood(output, target)

    def combine_samples(self, samples: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Combines samples over all classes."""
        return self._task.combine_samples(samples)


def exclusive_loss(task: Any, output: Tensor, target: Tensor, known: Sequence[int]) -> Tensor:
    """Returns the loss of a classification with mutually exclusive classes; see `loss_given_known`."""
    check_known(task, target[~torch.isnan(target)], known)
    return loss_given_known(task.kind, output, target, known)


def exclusive_annotated(task: Task, target: Tensor, known: Sequence[int]) -> Tensor:
    """Returns which images contribute to the loss: none with a single known class, which has no alternative."""
    if len(known) < 2:
        return torch.zeros(len(target), dtype=torch.bool, device=target.device)
    return task.is_annotated(target)


def known_labels_loss(task: Task, output: Tensor, target: Tensor, known: Sequence[int]) -> Tensor:
    """Returns the loss of a multi-label classification; unknown labels (B, K) count as not annotated."""
    unknown = [index for index in range(target.shape[1]) if index not in known]
    return task.loss(output, target.index_fill(1, torch.tensor(unknown, device=target.device), torch.nan))


def known_labels_annotated(task: Task, target: Tensor, known: Sequence[int]) -> Tensor:
    """Returns which images have an annotation of a known label, bool (B,)."""
    return task.is_annotated(target[:, list(known)])


def check_known(task: Task, classes: Tensor, known: Sequence[int]) -> None:
    """Checks that all annotations are of known classes.

    Args:
        task: task with all classes.
        classes: indices of annotated classes, any shape.
        known: indices of the known classes.

    Raises:
        ValueError: if there is an annotation of another class.
    """
    if not set(classes.long().flatten().tolist()) <= set(known):
        names = [task.classes[index] for index in known]
        raise ValueError(
            f"task {task.name!r} expects annotations of the client's known classes {names}, got another class; "
            "add it to known_classes, or omit these annotations."
        )


def loss_given_known(kind: str, logits: Tensor, target: Tensor, known: Sequence[int]) -> Tensor:
    """Returns the negative log-probability of a class, conditional on the class being a known one.

    Args:
        kind: 'binary', 'multiclass' or 'ordinal'.
        logits: (B, L).
        target: (B,) index of a known class, NaN where not annotated.
        known: indices of the known classes.

    Returns:
        Scalar, a mean over annotated images; exactly 0 if there are none or only one class is known.
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
    """Returns differences of cumulative probabilities, (B, K - 1) to (B, K); negative where these increase with k."""
    above = logits.sigmoid()
    edge = torch.ones_like(above[:, :1])
    return torch.cat([edge, above], dim=1) - torch.cat([above, torch.zeros_like(edge)], dim=1)


def _long_log(probs: Tensor) -> Tensor:
    """Returns the logarithm, extended linearly below `SMALLEST` so that the gradient is defined for values <= 0."""
    return torch.where(probs > SMALLEST, probs.clamp(min=SMALLEST).log(), math.log(SMALLEST) - 1.0 + probs / SMALLEST)
