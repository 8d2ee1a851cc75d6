"""The mean squared gradient of a single sample, estimated online from mini-batch gradients.

It is the diagonal of the empirical Fisher information, from which a client's precision is computed. Mini-batch
gradients are available during training; a pass over single samples would cost many times more (`exact_squared_gradient`
makes one, for tests and benchmarks).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn


class SquaredGradient:
    """Running averages of mini-batch gradients, and the per-sample estimate that follows from them.

    The gradient g of a batch of B samples is a mean, so `E[g^2] = mu^2 + s^2 / B` with the samples' mean mu and
    variance s^2. The running average m of g has noise of its own, which adds `c s^2 / B` to m^2 (c depends only on the
    rate and the number of steps). Both equations are solved for mu^2 and s^2; the estimate is `mu^2 + s^2`.

    Args:
        rate: decay rate; 0.98 averages over about 50 steps.
    """

    def __init__(self, rate: float = 0.98) -> None:
        if not 0.0 < rate < 1.0:
            raise ValueError(f"rate expects a number between 0 and 1, got {rate}.")
        self._rate = rate
        self._mean: dict[str, Tensor] = {}
        self._square: dict[str, Tensor] = {}
        self._weight: dict[str, float] = {}
        self._weight_of_squares: dict[str, float] = {}
        self._samples: dict[str, float] = {}

    @torch.no_grad()
    def update(self, gradients: Mapping[str, Tensor], num_samples: int) -> None:
        """Adds the gradients of one batch.

        Args:
            gradients: {weight: gradient of the batch's mean loss}; omit weights without a gradient.
            num_samples: B, number of samples in the batch.
        """
        for name, gradient in gradients.items():
            if name not in self._mean:
                self._mean[name], self._square[name] = torch.zeros_like(gradient), torch.zeros_like(gradient)
                self._weight[name] = self._weight_of_squares[name] = self._samples[name] = 0.0
            share = 1.0 - self._rate
            self._mean[name].lerp_(gradient, share)
            self._square[name].mul_(self._rate).addcmul_(gradient, gradient, value=share)
            self._weight[name] = self._rate * self._weight[name] + share
            self._weight_of_squares[name] = self._rate**2 * self._weight_of_squares[name] + share**2
            self._samples[name] = self._rate * self._samples[name] + share * num_samples

    def estimate(self) -> dict[str, Tensor]:
        """Returns {weight: mean squared gradient of a sample}; needs at least two steps."""
        return {name: self._estimate(name) for name in self._mean}

    def _estimate(self, name: str) -> Tensor:
        weight = self._weight[name]
        mean, square = self._mean[name] / weight, self._square[name] / weight
        noise = self._weight_of_squares[name] / weight**2  # variance of the running average, in units of s^2 / B
        if noise >= 1.0:
            return square
        batch_variance = ((square - mean**2) / (1.0 - noise)).clamp(min=0.0)
        return (square - batch_variance).clamp(min=0.0) + self._samples[name] / weight * batch_variance


def exact_squared_gradient(
    network: nn.Module, samples: Iterable[Tensor], loss: Callable[[nn.Module, Tensor], Tensor]
) -> dict[str, Tensor]:
    """Returns the mean over samples of the squared gradient, computed sample by sample.

    Args:
        network: squared gradients are computed for its trainable weights.
        samples: batches of one sample.
        loss: function of network and sample that returns a scalar.
    """
    weights = {name: value for name, value in network.named_parameters() if value.requires_grad}
    total = {name: torch.zeros_like(value) for name, value in weights.items()}
    count = 0
    for sample in samples:
        count += 1
        gradients = torch.autograd.grad(loss(network, sample), list(weights.values()), allow_unused=True)
        for name, gradient in zip(weights, gradients, strict=True):
            if gradient is not None:
                total[name] += gradient**2
    return {name: value / max(count, 1) for name, value in total.items()}
