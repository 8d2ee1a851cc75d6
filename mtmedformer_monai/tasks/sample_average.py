"""Joins a task's outputs under several weight samples, and measures how far they agree.

Probabilities are averaged, not logits, and the mean is turned back into logits, so that the task's own activation, and
all that follows it, works as on a single output. Every mean is taken as the first sample plus the mean difference
from it: samples that are all alike give the first one back bit for bit, with a spread of exactly 0.

Entropies are in nats. Mutual information is the entropy of the mean minus the mean entropy: what the samples disagree
about (Houlsby et al., arXiv 1112.5745, eq. 2); the rest is what they agree not to know.
"""

# S samples, B batch, C structures, A points, K classes

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_LARGEST = 80.0
"""Bound of a log-ratio of probabilities: its exponential is finite in float32."""

_ROUNDING = 1e-6
"""Entropies in float32 are known to about this, in nats: less is no difference."""

Summary = tuple[Tensor, dict[str, Tensor]]
"""The raw output that stands for all samples, and {figure: uncertainty (B, ...)}."""


def mean_of_samples(values: Tensor) -> Tensor:
    """Mean over the first axis; of equal values exactly that value."""
    return values[0] + (values - values[0]).mean(dim=0)


def std_of_samples(values: Tensor) -> Tensor:
    """Standard deviation over the first axis (S - 1 in the denominator); of equal values exactly 0."""
    return (values - values[0]).std(dim=0)


def average_sigmoid(logits: Tensor) -> Tensor:
    """The logit of the mean sigmoid: (S, ...) to (...)."""
    return logits[0] + _log_mean_ratio(F.logsigmoid(logits)) - _log_mean_ratio(F.logsigmoid(-logits))


def average_softmax(logits: Tensor) -> Tensor:
    """Logits whose softmax over the last axis is the mean softmax: (S, ..., K) to (..., K)."""
    return logits[0] + _log_mean_ratio(logits.log_softmax(dim=-1))


def binary_entropy(logits: Tensor) -> Tensor:
    """Entropy of the sigmoid of each logit, in [0, log 2]."""
    return logits.sigmoid() * F.softplus(-logits) + (-logits).sigmoid() * F.softplus(logits)


def class_entropy(probs: Tensor) -> Tensor:
    """Entropy over the last axis: (..., K) to (...)."""
    return -torch.xlogy(probs, probs).sum(dim=-1)


def _log_mean_ratio(log_probs: Tensor) -> Tensor:
    """Logarithm of the mean over samples of `p / p of the first sample`."""
    return (log_probs - log_probs[0]).clamp(max=_LARGEST).exp().mean(dim=0).log()


def information_of(entropy: Tensor, of_samples: Tensor) -> Tensor:
    """Mutual information: entropy of the mean (...) minus the mean entropy (S, ...), without what rounding left."""
    information = entropy - mean_of_samples(of_samples)
    return torch.where(information > _ROUNDING, information, 0.0)


def combine_sigmoids(logits: Tensor) -> Summary:
    """Joins logits of independent yes-or-no questions: the joint logit, `entropy`, `mutual_information` and `std`."""
    joint = average_sigmoid(logits)
    entropy = binary_entropy(joint)
    information = information_of(entropy, binary_entropy(logits))
    return joint, {"entropy": entropy, "mutual_information": information, "std": std_of_samples(logits.sigmoid())}
