"""One output out of many: what a task's outputs under several weight samples say together, and how far they agree.

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

from mtmedformer_monai.tasks.base import Task
from mtmedformer_monai.tasks.classification import ClassificationTask
from mtmedformer_monai.tasks.detection import DetectionTask
from mtmedformer_monai.tasks.detection_head import BOX, LOGITS
from mtmedformer_monai.tasks.segmentation import SegmentationTask

_LARGEST = 80.0
"""Bound of a log-ratio of probabilities: its exponential is finite in float32."""

_ROUNDING = 1e-6
"""Entropies in float32 are known to about this, in nats: less is no difference."""

Summary = tuple[Tensor, dict[str, Tensor]]
"""The raw output that stands for all samples, and {figure: uncertainty (B, ...)}."""


def summarize_samples(task: Task, samples: Tensor) -> Summary:
    """Joins the raw outputs of one task.

    - Segmentation: `entropy`, `mutual_information`, `std` (of the probability), all (B, C, H, W); `disagreement`
      (B, C): mean of 1 - Dice between a sample's mask and the joint one.
    - Classification: `entropy`, `mutual_information` (B,) or, multi-label, (B, K); `std` (B, K).
    - Detection: `entropy`, `mutual_information`, `std` (of the score) (B, A, K); `box_std` (B, A, 4) in pixels. A box
      is the mean over samples weighted by its best score, as is its spread: a sample that sees nothing at a point has
      no say in where the box is.
    - Other kinds: the mean output; `std` of the activated output.

    Args:
        task: whose outputs they are.
        samples: (S, B, ...), S of 2 or more.
    """
    samples = samples.float()
    if isinstance(task, SegmentationTask):
        return _masks(task, samples)
    if isinstance(task, ClassificationTask):
        return _classes(task, samples)
    if isinstance(task, DetectionTask):
        return _boxes(samples)
    return mean_of_samples(samples), {"std": std_of_samples(task.activate(samples))}


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


def _information(entropy: Tensor, of_samples: Tensor) -> Tensor:
    """Entropy of the mean (...) minus the mean entropy (S, ...), without what rounding left."""
    information = entropy - mean_of_samples(of_samples)
    return torch.where(information > _ROUNDING, information, 0.0)


def _sigmoids(logits: Tensor) -> Summary:
    """Questions of yes or no, each by itself."""
    joint = average_sigmoid(logits)
    entropy = binary_entropy(joint)
    information = _information(entropy, binary_entropy(logits))
    return joint, {"entropy": entropy, "mutual_information": information, "std": std_of_samples(logits.sigmoid())}


def _masks(task: SegmentationTask, logits: Tensor) -> Summary:
    joint, figures = _sigmoids(logits)
    masks, mask = task.activate(logits) >= task.threshold, task.activate(joint) >= task.threshold
    overlap = (masks & mask).sum(dim=(3, 4))
    area = masks.sum(dim=(3, 4)) + mask.sum(dim=(2, 3))
    figures["disagreement"] = torch.where(area > 0, 1.0 - 2.0 * overlap / area.clamp(min=1), 0.0).mean(dim=0)
    return joint, figures


def _classes(task: ClassificationTask, logits: Tensor) -> Summary:
    if task.kind == "multilabel":
        return _sigmoids(logits)
    if task.kind == "ordinal":  # cumulative logits as the activation reads them
        logits = logits.cummin(dim=-1).values
    joint = average_softmax(logits) if task.kind == "multiclass" else average_sigmoid(logits)
    probs = task.activate(logits)
    entropy = class_entropy(task.activate(joint))
    information = _information(entropy, class_entropy(probs))
    return joint, {"entropy": entropy, "mutual_information": information, "std": std_of_samples(probs)}


def _boxes(rows: Tensor) -> Summary:
    joint = rows[0].clone()
    joint[..., LOGITS], figures = _sigmoids(rows[..., LOGITS])
    weights = rows[..., LOGITS].sigmoid().amax(dim=-1, keepdim=True).clamp(min=1e-12)
    shares, boxes = weights / weights.sum(dim=0), rows[..., BOX]
    joint[..., BOX] = boxes[0] + (shares * (boxes - boxes[0])).sum(dim=0)
    figures["box_std"] = (shares * (boxes - joint[..., BOX]) ** 2).sum(dim=0).sqrt()
    return joint, figures
