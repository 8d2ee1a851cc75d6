"""FedPA (Al-Shedivat et al., ICLR 2021, algorithms 1 to 3): sites send steps that are weighted by their covariance.

A site samples its posterior along its training and sends `delta = S^-1 (w_global - mean)`; the server goes
`w <- w - rate * mean of deltas`, by images. With one sample that is averaging of averaged iterates. Made for SGD.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from mtmedformer_monai.federated.strategy import (
    ClientRule,
    LocalTraining,
    Message,
    ServerRule,
    Strategy,
    TensorKind,
    Weights,
    pick,
)
from mtmedformer_monai.layers.permutation_groups import PermutationGroups

from .averaged import is_averaged
from .fedavg import AveragingServer, weighted_terms
from .iterate_samples import IterateSamples, posterior_delta


@dataclass(frozen=True)
class SamplingSettings:
    """How a site samples; see `FedPA`."""

    num_samples: int
    burn_in: float
    burn_in_rounds: int
    shrinkage: float
    server_rate: float


class FedPA(Strategy):
    """Federated posterior averaging.

    Args:
        num_samples: of a round.
        burn_in: share of a round's steps before the first sample.
        burn_in_rounds: a site's first rounds, which are plain averaging.
        shrinkage: of the covariance towards the identity; 0 takes the identity.
        server_rate: of the server's step.
    """

    def __init__(
        self,
        num_samples: int = 5,
        burn_in: float = 0.5,
        burn_in_rounds: int = 0,
        shrinkage: float = 0.01,
        server_rate: float = 1.0,
    ) -> None:
        if num_samples < 1 or burn_in_rounds < 0:
            raise ValueError(
                f"num_samples expects 1 or more, got {num_samples}; burn_in_rounds 0, got {burn_in_rounds}."
            )
        if not 0.0 <= burn_in < 1.0:
            raise ValueError(f"burn_in expects a share from 0 up to below 1, got {burn_in}.")
        if shrinkage < 0 or server_rate <= 0:
            raise ValueError(f"shrinkage expects 0 or more, got {shrinkage}; server_rate above 0, got {server_rate}.")
        self._settings = SamplingSettings(num_samples, burn_in, burn_in_rounds, shrinkage, server_rate)

    def client(self, groups: PermutationGroups | None = None) -> ClientRule:
        """A site that samples."""
        return SamplingClient(self._settings)

    def server(self, weights: Mapping[str, Tensor]) -> ServerRule:
        """A server that averages: sites send where their steps lead."""
        return AveragingServer(weights)


class SamplingClient(ClientRule):
    """Samples along its training. Memory: how many rounds it has trained.

    Args:
        settings: of the samples.
    """

    def __init__(self, settings: SamplingSettings) -> None:
        self._settings = settings
        self._samples = IterateSamples(settings.num_samples, settings.burn_in)
        self._start: Weights = {}
        self._num_rounds = 0

    def receive(self, broadcast: Mapping[str, Tensor]) -> Weights:
        """The broadcast weights."""
        weights = pick(broadcast, TensorKind.MEAN)
        self._start = {name: value.cpu().clone() for name, value in weights.items() if not is_averaged(name, value)}
        self._samples.clear()
        return weights

    def after_step(self, weights: Mapping[str, Tensor], step: int, num_steps: int) -> None:
        """Adds the iterate to its sample, past the burn-in."""
        if self._num_rounds >= self._settings.burn_in_rounds:
            self._samples.add(weights, step, num_steps)

    def send(self, training: LocalTraining) -> Message:
        """`n (w_global - rate * delta)` and `n`; plain weights where there are no samples."""
        samples = self._samples.samples()
        self._num_rounds += 1
        self._samples.clear()
        if not samples:
            return weighted_terms(training)
        start = {
            name: value
            for name, value in self._start.items()
            if training.num_samples.get(name, 0) > 0 and all(name in sample for sample in samples)
        }
        delta = posterior_delta(start, samples, self._settings.shrinkage)
        led = {name: value - self._settings.server_rate * delta[name] for name, value in start.items()}
        return weighted_terms(replace(training, weights={**training.weights, **led}))

    def state_dict(self) -> dict[str, Any]:
        """Rounds so far."""
        return {"num_rounds": self._num_rounds}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores them."""
        self._num_rounds = int(state["num_rounds"])
