"""One temperature for the whole federation, by the likelihood of validation images summed over sites."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor

from mtmedformer_monai.tasks.base import Task

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
    """Negative log-likelihood, summed over tasks and annotated images; see `Task.negative_log_likelihood`.

    Returns:
        float64 scalar.
    """
    total = torch.zeros((), dtype=torch.float64)
    for task in tasks:
        if task.name in targets:
            total += task.negative_log_likelihood(outputs[task.name], targets[task.name])
    return total
