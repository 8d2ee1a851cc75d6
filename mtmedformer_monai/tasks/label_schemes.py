"""Label schemes that define logits, losses and probabilities: binary, multi-class, multi-label, ordinal.

A `ClassificationTask` selects a scheme by name. Axes: B batch, K classes, L logits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .partial import annotated_mean, fill_missing, keep_annotated


class LabelScheme(ABC):
    """Interpretation of K class names."""

    @abstractmethod
    def num_logits(self, num_classes: int) -> int:
        """Returns the number of logits."""

    @abstractmethod
    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Returns the scalar mean loss over annotated entries; exactly 0 if there are none."""

    @abstractmethod
    def probs(self, logits: Tensor) -> Tensor:
        """Converts logits (B, L) to class probabilities (B, K)."""

    def encode(self, label: str | Sequence[str], classes: Sequence[str]) -> Tensor:
        """Encodes a class name as its index, float ()."""
        return torch.tensor(float(_index(label, classes)))

    def missing(self, num_classes: int) -> Tensor:
        """Returns the target of an image without a label."""
        return torch.tensor(torch.nan)


class Binary(LabelScheme):
    """Two classes with one logit for the second."""

    def num_logits(self, num_classes: int) -> int:
        """Returns 1."""
        if num_classes != 2:
            raise ValueError(f"a binary task expects 2 classes, got {num_classes}; use kind 'multiclass'.")
        return 1

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Returns the binary cross-entropy of logits (B, 1) and target (B,)."""
        target, annotated = fill_missing(target)
        logits = keep_annotated(logits[:, 0], annotated)
        return annotated_mean(F.binary_cross_entropy_with_logits(logits, target, reduction="none"), annotated)

    def probs(self, logits: Tensor) -> Tensor:
        """Converts logits (B, 1) to probabilities (B, 2)."""
        second = logits.sigmoid()
        return torch.cat([1.0 - second, second], dim=-1)


class MultiClass(LabelScheme):
    """K mutually exclusive classes."""

    def num_logits(self, num_classes: int) -> int:
        """Returns K."""
        if num_classes < 2:
            raise ValueError(f"a multiclass task expects 2 or more classes, got {num_classes}.")
        return num_classes

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Returns the cross-entropy of logits (B, K) and target (B,)."""
        target, annotated = fill_missing(target)
        logits = keep_annotated(logits, annotated[:, None])
        return annotated_mean(F.cross_entropy(logits, target.long(), reduction="none"), annotated)

    def probs(self, logits: Tensor) -> Tensor:
        """Returns the softmax of logits (B, K)."""
        return logits.softmax(dim=-1)


class MultiLabel(LabelScheme):
    """K independent binary labels, each of which may lack an annotation."""

    def num_logits(self, num_classes: int) -> int:
        """Returns K."""
        return num_classes

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Returns the binary cross-entropy of logits (B, K) and target (B, K)."""
        target, annotated = fill_missing(target)
        logits = keep_annotated(logits, annotated)
        return annotated_mean(F.binary_cross_entropy_with_logits(logits, target, reduction="none"), annotated)

    def probs(self, logits: Tensor) -> Tensor:
        """Returns the sigmoid of logits (B, K)."""
        return logits.sigmoid()

    def encode(self, label: str | Sequence[str], classes: Sequence[str]) -> Tensor:
        """Encodes the names of present classes as indicator (K,) of 0 and 1."""
        target = torch.zeros(len(classes))
        for name in [label] if isinstance(label, str) else label:
            target[_index(name, classes)] = 1.0
        return target

    def missing(self, num_classes: int) -> Tensor:
        """Returns NaN (K,)."""
        return torch.full((num_classes,), torch.nan)


class Ordinal(LabelScheme):
    """K ordered classes with K - 1 cumulative logits of P(class > k) (Frank and Hall, ECML 2001)."""

    def num_logits(self, num_classes: int) -> int:
        """Returns K - 1."""
        if num_classes < 2:
            raise ValueError(f"an ordinal task expects 2 or more classes in order, got {num_classes}.")
        return num_classes - 1

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Returns the mean binary cross-entropy of the K - 1 events that the class is above k; target (B,)."""
        target, annotated = fill_missing(target)
        logits = keep_annotated(logits, annotated[:, None])
        above = (target[:, None] > torch.arange(logits.shape[1], device=logits.device)).to(logits.dtype)
        losses = F.binary_cross_entropy_with_logits(logits, above, reduction="none").mean(dim=1)
        return annotated_mean(losses, annotated)

    def probs(self, logits: Tensor) -> Tensor:
        """Converts logits (B, K - 1) to differences of cumulative probabilities (B, K).

        P(class > k) is learned independently for each k and may increase with k. Its running minimum does not, so class
        probabilities are never negative.
        """
        above = logits.sigmoid().cummin(dim=-1).values
        edge = torch.ones_like(above[..., :1])
        return torch.cat([edge, above], dim=-1) - torch.cat([above, torch.zeros_like(edge)], dim=-1)


SCHEMES: dict[str, LabelScheme] = {
    "binary": Binary(),
    "multiclass": MultiClass(),
    "multilabel": MultiLabel(),
    "ordinal": Ordinal(),
}


def _index(label: str | Sequence[str], classes: Sequence[str]) -> int:
    if not isinstance(label, str) or label not in classes:
        raise ValueError(f"label {label!r} is not one of the classes {list(classes)}; map it in the datalist.")
    return list(classes).index(label)
