"""The spread of the weights during the last steps of a round.

The stationary spread of stochastic gradient descent around a mode estimates the variance of a client's posterior (Mandt
et al., JMLR 2017, section 5; Al-Shedivat et al., FedPA, ICLR 2021, section 3.2; SWAG: Maddox et al., NeurIPS 2019).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mtmedformer_monai.federated.message import Weights


class IterateSpread:
    """Variance of the iterates over the last steps of a round, per tensor.

    Memory: the running mean of the trained weights, and one number per tensor.

    Args:
        share: of the round's steps that count, in [0, 1]; 0 measures nothing.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self.clear()

    def clear(self) -> None:
        """Starts a round."""
        self._means: Weights = {}
        self._squares: dict[str, Tensor] = {}
        self._count = 0

    @torch.no_grad()
    def add(self, weights: Mapping[str, Tensor], step: int, num_steps: int) -> None:
        """Adds the weights after a step.

        Args:
            weights: {parameter: value}, on any device.
            step: starting at 1.
            num_steps: of the round.
        """
        if step <= num_steps - max(1, round(self._share * num_steps)) or self._share == 0.0:
            return
        self._count += 1
        if self._count == 1:
            self._means = {name: value.detach().float().clone() for name, value in weights.items()}
            self._squares = {name: value.new_zeros((), dtype=torch.float32) for name, value in weights.items()}
            return
        means = list(self._means.values())
        differences = torch._foreach_sub([weights[name].detach().float() for name in self._means], means)
        torch._foreach_add_(means, differences, alpha=1.0 / self._count)
        factor = (self._count - 1) / self._count  # Welford (1962)
        for name, norm in zip(self._squares, torch._foreach_norm(differences), strict=True):
            self._squares[name] += norm.square() * (factor / max(self._means[name].numel(), 1))

    def variances(self) -> dict[str, float]:
        """Returns {parameter: mean over its weights of the iterates' variance}; 0 for a single iterate."""
        spare = max(self._count - 1, 1)
        return {name: float(value) / spare for name, value in self._squares.items()}
