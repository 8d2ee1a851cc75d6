"""Fits one temperature for the whole federation to the likelihood of the clients' validation images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor

from mtmedformer_monai.tasks.base import Task

TEMPERATURES = tuple(10.0 ** (exponent / 2) for exponent in range(-12, 1))
"""From 1e-6 to 1 in half decades: posteriors of deep networks are usually much too wide (Wenzel et al., ICML 2020)."""

Predict = Callable[[Tensor, float], Mapping[str, Tensor]]
"""Computes {task: raw output} from an image batch and a temperature."""


def validation_nll(
    predict: Predict,
    batches: Iterable[tuple[Tensor, Mapping[str, Tensor]]],
    tasks: Sequence[Task],
    temperatures: Sequence[float] = TEMPERATURES,
) -> Tensor:
    """Returns a client's summed negative log-likelihood at each temperature, which the server adds over clients.

    Args:
        predict: computes predictive outputs, with the same noise at each temperature.
        batches: batches (image, {task: target}) of the client's validation images.
        tasks: tasks of the outputs.
        temperatures: G temperatures, the same for all clients.

    Returns:
        float64 (G,).
    """
    sums = torch.zeros(len(temperatures), dtype=torch.float64)
    for image, targets in batches:
        for index, temperature in enumerate(temperatures):
            sums[index] += summed_nll(tasks, predict(image, temperature), targets)
    return sums


def fit_temperature(clients: Iterable[Tensor], temperatures: Sequence[float] = TEMPERATURES) -> float:
    """Returns the temperature that minimizes the summed negative log-likelihood; the lowest of equals.

    Args:
        clients: results (G,) of `validation_nll` of each client, in any order.
        temperatures: temperatures that the clients used.

    Raises:
        ValueError: if there is no client, the number of temperatures differs, or a sum is not finite.

    Example:
        >>> fit_temperature([torch.tensor([3.0, 1.0, 2.0]), torch.tensor([1.0, 2.0, 4.0])], [0.01, 0.1, 1.0])
        0.1
    """
    total = torch.zeros(len(temperatures), dtype=torch.float64)
    count = 0
    for sums in clients:
        if sums.shape != total.shape:
            raise ValueError(f"a client expects a sum for each of {len(temperatures)} temperatures, got {len(sums)}.")
        total += sums
        count += 1
    if count == 0 or not bool(torch.isfinite(total).all()):
        raise ValueError(f"temperature expects finite sums of one client or more, got {total.tolist()} of {count}.")
    return float(temperatures[int(total.argmin())])


def summed_nll(tasks: Sequence[Task], outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
    """Returns the negative log-likelihood, summed over tasks and annotated images.

    Returns:
        float64 scalar.
    """
    total = torch.zeros((), dtype=torch.float64)
    for task in tasks:
        if task.name in targets:
            total += task.negative_log_likelihood(outputs[task.name], targets[task.name])
    return total
