"""One temperature for the whole federation, by the likelihood of validation images summed over sites."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mtmedformer_monai.tasks.base import Task
from mtmedformer_monai.tasks.classification import ClassificationTask
from mtmedformer_monai.tasks.partial import fill_missing
from mtmedformer_monai.tasks.segmentation import SegmentationTask

TEMPERATURES = tuple(10.0 ** (exponent / 2) for exponent in range(-12, 1))
"""1e-6 to 1, two steps a decade. A posterior of a deep network is mostly far too wide (Wenzel et al., ICML 2020)."""

Predict = Callable[[Tensor, float], Mapping[str, Tensor]]
"""Image batch and temperature to {task: raw output}."""


def site_likelihood(
    predict: Predict,
    batches: Iterable[tuple[Tensor, Mapping[str, Tensor]]],
    tasks: Sequence[Task],
    temperatures: Sequence[float] = TEMPERATURES,
) -> Tensor:
    """What a site sends: its summed negative log-likelihood at each temperature, a term of the server's sum.

    Args:
        predict: the predictive outputs, with the same noise at each temperature.
        batches: of image and {task: target}: the site's validation images.
        tasks: whose outputs they are.
        temperatures: G of them, the same at all sites.

    Returns:
        float64 (G,).
    """
    sums = torch.zeros(len(temperatures), dtype=torch.float64)
    for image, targets in batches:
        for index, temperature in enumerate(temperatures):
            sums[index] += summed_nll(tasks, predict(image, temperature), targets)
    return sums


def fit_temperature(sites: Iterable[Tensor], temperatures: Sequence[float] = TEMPERATURES) -> float:
    """The temperature of the least summed negative log-likelihood; the lowest of equals.

    Args:
        sites: (G,) each, from `site_likelihood`; their order doesn't matter.
        temperatures: as the sites took them.

    Raises:
        ValueError: no site, another number of temperatures, or a sum that is not finite.

    Example:
        >>> fit_temperature([torch.tensor([3.0, 1.0, 2.0]), torch.tensor([1.0, 2.0, 4.0])], [0.01, 0.1, 1.0])
        0.1
    """
    total = torch.zeros(len(temperatures), dtype=torch.float64)
    count = 0
    for sums in sites:
        if sums.shape != total.shape:
            raise ValueError(f"a site expects a sum for each of {len(temperatures)} temperatures, got {len(sums)}.")
        total += sums
        count += 1
    if count == 0 or not bool(torch.isfinite(total).all()):
        raise ValueError(f"temperature expects finite sums of one site or more, got {total.tolist()} of {count}.")
    return float(temperatures[int(total.argmin())])


def summed_nll(tasks: Sequence[Task], outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
    """Negative log-likelihood, summed over tasks and annotated images.

    A class counts once; a mask counts once a structure, as the mean over its pixels, which are no witnesses of their
    own. Boxes are left out: the loss of their centre map is no likelihood.

    Returns:
        float64 ().
    """
    total = torch.zeros((), dtype=torch.float64)
    for task in tasks:
        if task.name not in targets:
            continue
        output, target = outputs[task.name].float(), targets[task.name].float()
        if isinstance(task, SegmentationTask) or (isinstance(task, ClassificationTask) and task.kind == "multilabel"):
            total += _yes_or_no(output, target)
        elif isinstance(task, ClassificationTask):
            total += _one_of_many(task.activate(output), target)
    return total


def _yes_or_no(logits: Tensor, target: Tensor) -> Tensor:
    """Bernoulli, of (B, C, ...) logits: a sum over images and structures of the mean over pixels."""
    target, annotated = fill_missing(target)
    losses = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    losses = torch.where(annotated, losses, 0.0).reshape(*losses.shape[:2], -1)
    count = annotated.reshape(*annotated.shape[:2], -1).sum(dim=2).clamp(min=1)
    return (losses.double().sum(dim=2) / count).sum().cpu()


def _one_of_many(probs: Tensor, target: Tensor) -> Tensor:
    """Categorical, of (B, K) probabilities: a sum over images with a label."""
    target, annotated = fill_missing(target)
    chosen = probs.gather(1, target.long()[:, None])[:, 0].clamp(min=torch.finfo(torch.float32).tiny)
    return torch.where(annotated, -chosen.double().log(), 0.0).sum().cpu()
