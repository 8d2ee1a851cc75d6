"""Server-side optimizers (Reddi et al., Adaptive Federated Optimization, ICLR 2021, algorithm 2).

Clients train as in federated averaging. The server treats `delta`, the mean of their weights minus the global weights,
as a negative gradient: with momentum (FedAvgM: Hsu et al., arXiv 1909.06335), or with Adam's steps.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mtmedformer_monai.federated.message import Message, TensorKind, Weights, key
from mtmedformer_monai.federated.strategy import ClientRule, ServerRule, Strategy
from mtmedformer_monai.layers.permutation_groups import PermutationGroups

from .averaged import is_averaged
from .fedavg import AveragingClient, AveragingServer


class FedAvgM(Strategy):
    """Averaging with server momentum: `m <- momentum m + delta`, `w <- w + learning_rate m`.

    Args:
        momentum: in [0, 1); 0 with learning rate 1 is federated averaging.
        learning_rate: of the server, above 0.
    """

    image_precision = 1.0

    def __init__(self, momentum: float = 0.9, learning_rate: float = 1.0) -> None:
        _check(learning_rate, momentum=momentum)
        self._momentum, self._rate = momentum, learning_rate

    def client(self, groups: PermutationGroups | None = None) -> ClientRule:
        """Returns a client of federated averaging."""
        return AveragingClient()

    def server(self, weights: Mapping[str, Tensor]) -> ServerRule:
        """Returns a server with momentum."""
        return MomentumServer(weights, self._momentum, self._rate)


class FedAdam(Strategy):
    """Averaging with Adam at the server: `w <- w + learning_rate m / (sqrt(v) + tau)`.

    As in the paper, there is no bias correction, and v starts at tau squared.

    Args:
        learning_rate: of the server, above 0.
        beta1: decay of the first moment, in [0, 1).
        beta2: decay of the second moment, in [0, 1).
        tau: adaptivity, above 0; smaller is more adaptive.
    """

    image_precision = 1.0

    def __init__(self, learning_rate: float = 0.01, beta1: float = 0.9, beta2: float = 0.99, tau: float = 1e-3) -> None:
        _check(learning_rate, beta1=beta1, beta2=beta2)
        if tau <= 0:
            raise ValueError(f"tau expects a number above 0, got {tau}.")
        self._settings = (learning_rate, beta1, beta2, tau)

    def client(self, groups: PermutationGroups | None = None) -> ClientRule:
        """Returns a client of federated averaging."""
        return AveragingClient()

    def server(self, weights: Mapping[str, Tensor]) -> ServerRule:
        """Returns a server with Adam."""
        return AdamServer(weights, *self._settings)


class OptimizingServer(ServerRule):
    """Averages, and applies an optimizer to the step; tensors that no client trained keep weights and moments.

    Args:
        weights: initial weights.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._mean = AveragingServer(weights)
        self._weights = self._mean.weights()
        self._moments: dict[str, Weights] = {}
        self._trained: set[str] = set()

    def add(self, message: Mapping[str, Tensor]) -> None:
        """Adds the terms of one client."""
        self._mean.add(message)
        self._trained |= {name.partition("/")[2] for name in message}

    def close_round(self) -> None:
        """Takes the optimizer's step; statistics are plain means."""
        self._mean.close_round()
        for name, mean in self._mean.weights().items():
            if name in self._trained and not is_averaged(name, mean):
                step = self.step(name, mean - self._weights[name])
                self._weights[name] = self._weights[name] + step
            else:
                self._weights[name] = mean
        self._mean.load_state_dict({"weights": self._weights, "total": {}})
        self._trained = set()

    @abstractmethod
    def step(self, name: str, delta: Tensor) -> Tensor:
        """Returns the step of a tensor, and updates its moments."""

    def moment(self, kind: str, name: str, like: Tensor, start: float = 0.0) -> Tensor:
        """Returns a moment of a tensor; a constant in the first round."""
        return self._moments.setdefault(kind, {}).get(name, torch.full_like(like, start))

    def broadcast(self) -> Message:
        """Returns the weights."""
        return {key(TensorKind.MEAN, name): value for name, value in self._weights.items()}

    def state_dict(self) -> dict[str, Any]:
        """Returns weights, moments and the messages added in this round."""
        moments = {kind: dict(values) for kind, values in self._moments.items()}
        return {"mean": self._mean.state_dict(), "moments": moments, "trained": sorted(self._trained)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the state."""
        self._mean.load_state_dict(state["mean"])
        self._weights = self._mean.weights()
        self._moments = {kind: dict(values) for kind, values in state["moments"].items()}
        self._trained = set(state["trained"])


class MomentumServer(OptimizingServer):
    """Server of FedAvgM.

    Args:
        weights: initial weights.
        momentum: in [0, 1).
        learning_rate: above 0.
    """

    def __init__(self, weights: Mapping[str, Tensor], momentum: float, learning_rate: float) -> None:
        super().__init__(weights)
        self._momentum, self._rate = momentum, learning_rate

    def step(self, name: str, delta: Tensor) -> Tensor:
        """Returns the learning rate times the new momentum."""
        moment = self._momentum * self.moment("first", name, delta) + delta
        self._moments["first"][name] = moment
        return self._rate * moment


class AdamServer(OptimizingServer):
    """Server of FedAdam.

    Args:
        weights: initial weights.
        learning_rate: above 0.
        beta1: decay of the first moment.
        beta2: decay of the second moment.
        tau: adaptivity.
    """

    def __init__(
        self, weights: Mapping[str, Tensor], learning_rate: float, beta1: float, beta2: float, tau: float
    ) -> None:
        super().__init__(weights)
        self._rate, self._beta1, self._beta2, self._tau = learning_rate, beta1, beta2, tau

    def step(self, name: str, delta: Tensor) -> Tensor:
        """Returns Adam's step."""
        first = self._beta1 * self.moment("first", name, delta) + (1 - self._beta1) * delta
        second = self._beta2 * self.moment("second", name, delta, self._tau**2) + (1 - self._beta2) * delta.square()
        self._moments["first"][name], self._moments["second"][name] = first, second
        return self._rate * first / (second.sqrt() + self._tau)


def _check(learning_rate: float, **decays: float) -> None:
    """Validates the settings."""
    if learning_rate <= 0:
        raise ValueError(f"learning_rate expects a number above 0, got {learning_rate}.")
    for name, value in decays.items():
        if not 0.0 <= value < 1.0:
            raise ValueError(f"{name} expects a number from 0 up to below 1, got {value}.")
