"""Sampling of weights from a diagonal Gaussian posterior, and the tasks for which the posterior is informative."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor

SHARED = "shared"
"""Name for the parameters that several tasks share."""

_OWNERS = ("decoders", "fusions", "pyramids")
"""Names of modules whose children are named after tasks (or `shared`)."""


def draw_weights(
    mean: Mapping[str, Tensor], precision: Mapping[str, Tensor], temperature: float, generator: torch.Generator
) -> dict[str, Tensor]:
    """Draws weights independently from N(mean, temperature / precision).

    The noise is drawn on the CPU in the order of sorted names, so it is independent of the device and of the order of
    the dicts. For a given state of the generator, the noise is the same at every temperature.

    Args:
        mean: {parameter: value}.
        precision: {parameter: precision above 0, of the value's shape}; parameters without an entry are not drawn.
        temperature: 0 or more; 0 yields exactly the means.
        generator: generator on the CPU.

    Returns:
        {parameter: value} of the parameters that have a precision.

    Raises:
        ValueError: if the temperature is negative, or a precision is not above 0.
        KeyError: if a parameter has a precision but no mean.
    """
    if not temperature >= 0.0:
        raise ValueError(f"temperature expects a number of 0 or more, got {temperature}.")
    unknown = sorted(set(precision) - set(mean))
    if unknown:
        raise KeyError(f"parameters {unknown} have a precision but no mean; the posterior belongs to another network.")
    return {name: _draw(name, mean[name], precision[name], temperature, generator) for name in sorted(precision)}


def trained_share_by_task(posterior: Mapping[str, Tensor], prior: Mapping[str, Tensor]) -> dict[str, float]:
    """Returns the fraction of each task's parameters whose posterior precision exceeds the prior's.

    If it is 0, no data have trained the task, and its predictions and their uncertainty are meaningless.

    Args:
        posterior: {parameter: precision}.
        prior: {parameter: precision}, a scalar or of the posterior's shape.

    Returns:
        {task: fraction in [0, 1]}, with the key `shared` for parameters that tasks share.

    Example:
        >>> posterior = {"decoders.lung.bias": torch.tensor([5.0, 1.0]), "decoders.box.bias": torch.tensor([1.0])}
        >>> trained_share_by_task(posterior, {name: torch.tensor(1.0) for name in posterior})
        {'box': 0.0, 'lung': 0.5}
    """
    known: dict[str, int] = {}
    total: dict[str, int] = {}
    for name, precision in posterior.items():
        task = task_of(name)
        known[task] = known.get(task, 0) + int((precision > prior[name]).sum())
        total[task] = total.get(task, 0) + precision.numel()
    return {task: known[task] / max(total[task], 1) for task in sorted(total)}


def task_of(parameter: str) -> str:
    """Returns the task that a parameter belongs to according to its name, or `shared`.

    Example:
        >>> task_of("decoders.lung.logits.bias"), task_of("image_network.pyramids.shared.top.weight")
        ('lung', 'shared')
    """
    parts = parameter.split(".")
    for owner, task in pairwise(parts):
        if owner in _OWNERS:
            return task
    return SHARED


def _draw(name: str, mean: Tensor, precision: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    if not bool((precision > 0).all()):
        raise ValueError(f"parameter {name!r} expects precision above 0, got {float(precision.min()):g}.")
    noise = torch.randn(mean.shape, generator=generator, dtype=torch.float32)
    noise *= precision.float().rsqrt() * temperature**0.5
    return mean.detach() + noise.to(device=mean.device, dtype=mean.dtype)
