"""FedProx (Li et al., MLSys 2020, algorithm 2): averaging with a proximal term at each client.

A client minimizes `L_k(w) + mu / 2 |w - w_global|^2` (eq. 2), so its gradient is `grad L_k(w) + mu (w - w_global)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mtmedformer_monai.federated.message import Message, TensorKind, Weights, pick
from mtmedformer_monai.federated.strategy import ClientRule, LocalTraining, ServerRule, Strategy
from mtmedformer_monai.layers.permutation_groups import PermutationGroups

from .fedavg import AveragingServer, weighted_terms


class FedProx(Strategy):
    """Weighted averaging of clients with a proximal term.

    Args:
        proximal: mu, relative to the mean loss over samples; 0 is federated averaging.
    """

    image_precision = 1.0

    def __init__(self, proximal: float = 0.01) -> None:
        if proximal < 0:
            raise ValueError(f"proximal expects 0 or more, got {proximal}.")
        self._proximal = proximal

    def client(self, groups: PermutationGroups | None = None) -> ClientRule:
        """Returns a client with a proximal term."""
        return ProximalClient(self._proximal)

    def server(self, weights: Mapping[str, Tensor]) -> ServerRule:
        """Returns a server that averages."""
        return AveragingServer(weights)


class ProximalClient(ClientRule):
    """Adds the gradient of the proximal term; keeps no state between rounds.

    Args:
        proximal: mu.
    """

    sends_weights_alone = True

    def __init__(self, proximal: float) -> None:
        self._proximal = proximal
        self._reference: Weights = {}

    def receive(self, broadcast: Mapping[str, Tensor]) -> Weights:
        """Returns the broadcast weights, the center of the proximal term."""
        self._reference = {name: value.clone() for name, value in pick(broadcast, TensorKind.MEAN).items()}
        return pick(broadcast, TensorKind.MEAN)

    def correct(self, name: str, weight: Tensor, gradient: Tensor, num_samples: int) -> Tensor:
        """Returns `gradient + mu (w - w_global)`."""
        if self._reference[name].device != weight.device:
            self._reference[name] = self._reference[name].to(weight.device)
        return gradient + self._proximal * (weight.detach() - self._reference[name])

    def send(self, training: LocalTraining) -> Message:
        """Returns `n w` and `n`."""
        return weighted_terms(training)

    def state_dict(self) -> dict[str, Any]:
        """Returns an empty state."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Does nothing, as there is no state."""
