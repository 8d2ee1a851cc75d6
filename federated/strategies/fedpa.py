"""FedPA (Al-Shedivat et al., ICLR 2021, algorithms 1 to 3): client updates preconditioned by posterior covariance.

A client samples its posterior during training and sends `delta = S^-1 (w_global - mean)`; the server updates `w <- w -
rate * mean of deltas`, weighted by images. With a single sample, this is averaging of averaged iterates. Designed for
SGD.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from mtmedformer_monai.federated.message import Message, TensorKind, Weights, pick
from mtmedformer_monai.federated.strategy import ClientRule, LocalTraining, ServerRule, Strategy
from mtmedformer_monai.layers.permutation_groups import PermutationGroups

from .averaged import is_averaged
from .fedavg import AveragingServer, weighted_terms
from .iterate_samples import IterateSamples, posterior_delta


@dataclass(frozen=True)
class SamplingSettings:
    """Settings of a client's sampling; see `FedPA`."""

    num_samples: int
    burn_in: float
    burn_in_rounds: int
    shrinkage: float
    server_rate: float


class FedPA(Strategy):
    """Federated posterior averaging.

    Args:
        num_samples: number of samples per round.
        burn_in: share of a round's steps before the first sample.
        burn_in_rounds: number of a client's first rounds that use plain averaging.
        shrinkage: of the covariance towards the identity; 0 uses the identity.
        server_rate: learning rate of the server's step.
    """

    image_precision = 1.0

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
        """Returns a client that samples."""
        return SamplingClient(self._settings)

    def server(self, weights: Mapping[str, Tensor]) -> ServerRule:
        """Returns a server that averages; clients send the weights after their preconditioned step."""
        return AveragingServer(weights)


class SamplingClient(ClientRule):
    """Samples the posterior during training. State: the number of rounds it has trained.

    Args:
        settings: of the sampling.
    """

    def __init__(self, settings: SamplingSettings) -> None:
        self._settings = settings
        self._samples = IterateSamples(settings.num_samples, settings.burn_in)
        self._start: Weights = {}
        self._num_rounds = 0

    def receive(self, broadcast: Mapping[str, Tensor]) -> Weights:
        """Returns the broadcast weights."""
        weights = pick(broadcast, TensorKind.MEAN)
        self._start = {name: value.cpu().clone() for name, value in weights.items() if not is_averaged(name, value)}
        self._samples.clear()
        return weights

    def after_step(self, weights: Mapping[str, Tensor], step: int, num_steps: int) -> None:
        """Adds the weights to the current sample after the burn-in."""
        if self._num_rounds >= self._settings.burn_in_rounds:
            self._samples.add(weights, step, num_steps)

    def send(self, training: LocalTraining) -> Message:
        """Returns `n (w_global - rate * delta)` and `n`; the plain weights if there are no samples."""
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
        stepped = {name: value - self._settings.server_rate * delta[name] for name, value in start.items()}
        return weighted_terms(replace(training, weights={**training.weights, **stepped}))

    def state_dict(self) -> dict[str, Any]:
        """Returns the number of rounds."""
        return {"num_rounds": self._num_rounds}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the number of rounds."""
        self._num_rounds = int(state["num_rounds"])
