"""Combines a task's outputs under several weight samples and quantifies their disagreement.

Probabilities, not logits, are averaged, and the mean is converted back to logits, so that the task's activation and all
further steps apply to it as to a single output. Each mean is computed as the first sample plus the mean difference from
it, so equal samples yield exactly the first one, with a standard deviation of exactly 0.

Entropies are in nats. The mutual information, which measures the disagreement of the samples (epistemic uncertainty),
is the entropy of the mean minus the mean entropy (Houlsby et al., arXiv 1112.5745, eq. 2). The mean entropy is the
uncertainty on which the samples agree (aleatoric uncertainty).
"""

# S samples, B batch, C structures, A points, K classes

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_ROUNDING = 1e-6
"""Precision of entropies in float32, in nats; smaller differences are set to 0."""

Summary = tuple[Tensor, dict[str, Tensor]]
"""The combined raw output, and {uncertainty measure: (B, ...)}."""


def mean_of_samples(values: Tensor) -> Tensor:
    """Returns the mean over the first axis; exact for equal values."""
    return values[0] + (values - values[0]).mean(dim=0)


def std_of_samples(values: Tensor) -> Tensor:
    """Returns the standard deviation over the first axis (denominator S - 1); exactly 0 for equal values."""
    return (values - values[0]).std(dim=0)


def average_sigmoid(logits: Tensor) -> Tensor:
    """Returns the logit of the mean sigmoid, (S, ...) to (...)."""
    return logits[0] + _log_mean_ratio(F.logsigmoid(logits)) - _log_mean_ratio(F.logsigmoid(-logits))


def average_softmax(logits: Tensor) -> Tensor:
    """Returns logits whose softmax over the last axis is the mean softmax, (S, ..., K) to (..., K)."""
    return logits[0] + _log_mean_ratio(logits.log_softmax(dim=-1))


def binary_entropy(logits: Tensor) -> Tensor:
    """Returns the entropy of the sigmoid of each logit, in [0, log 2]."""
    return logits.sigmoid() * F.softplus(-logits) + (-logits).sigmoid() * F.softplus(logits)


def class_entropy(probs: Tensor) -> Tensor:
    """Returns the entropy over the last axis, (..., K) to (...)."""
    return -torch.xlogy(probs, probs).sum(dim=-1)


def _log_mean_ratio(log_probs: Tensor) -> Tensor:
    """Returns the logarithm of the mean ratio of probabilities to those of the first sample; exactly 0 if all agree."""
    ratios = log_probs - log_probs[0]
    largest = ratios.amax(dim=0)  # 0 or more, whose exponential may overflow
    return largest + (ratios - largest).exp().mean(dim=0).log()


def mutual_information(entropy: Tensor, of_samples: Tensor) -> Tensor:
    """Returns the entropy of the mean (...) minus the mean entropy of samples (S, ...), without rounding errors."""
    information = entropy - mean_of_samples(of_samples)
    return torch.where(information > _ROUNDING, information, 0.0)


def combine_sigmoids(logits: Tensor) -> Summary:
    """Combines logits of independent binary labels; measures: `entropy`, `mutual_information` and `std`."""
    joint = average_sigmoid(logits)
    entropy = binary_entropy(joint)
    information = mutual_information(entropy, binary_entropy(logits))
    return joint, {"entropy": entropy, "mutual_information": information, "std": std_of_samples(logits.sigmoid())}
