"""Federated averaging (McMahan et al., AISTATS 2017, algorithm 1): the clients' mean weights, weighted by images.

An average is a Gaussian product whose precisions are the numbers of images: clients send `n w` and `n`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mtmedformer_monai.federated.message import Message, TensorKind, Weights, key, pick
from mtmedformer_monai.federated.running_sum import RunningSum
from mtmedformer_monai.federated.strategy import ClientRule, LocalTraining, ServerRule, Strategy
from mtmedformer_monai.layers.permutation_groups import PermutationGroups


class FedAvg(Strategy):
    """Weighted averaging; clients keep no state."""

    image_precision = 1.0

    def client(self, groups: PermutationGroups | None = None) -> ClientRule:
        """Returns a client without corrections."""
        return AveragingClient()

    def server(self, weights: Mapping[str, Tensor]) -> ServerRule:
        """Returns a server that averages."""
        return AveragingServer(weights)


class AveragingClient(ClientRule):
    """Trains from the broadcast weights, and sends its weights multiplied by its number of images."""

    sends_weights_alone = True

    def receive(self, broadcast: Mapping[str, Tensor]) -> Weights:
        """Returns the broadcast weights."""
        return pick(broadcast, TensorKind.MEAN)

    def send(self, training: LocalTraining) -> Message:
        """Returns `n w` and `n`."""
        return weighted_terms(training)

    def state_dict(self) -> dict[str, Any]:
        """Returns an empty state."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Does nothing, as there is no state."""


def weighted_terms(training: LocalTraining) -> Message:
    """Returns `n w` and `n` of all trained weights: terms of a weighted average."""
    message: Message = {}
    for name, count in training.num_samples.items():
        if count > 0:
            images = training.images_of(name)
            message[key(TensorKind.PRECISION_MEAN, name)] = images * training.weights[name].float()
            message[key(TensorKind.PRECISION, name)] = images
    return message


class AveragingServer(ServerRule):
    """Computes weighted means; weights that no client trained are unchanged bit for bit.

    Args:
        weights: initial weights.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._weights = {name: value.detach().clone() for name, value in weights.items()}
        self._sum = RunningSum(
            {name: value.shape for name, value in weights.items()},
            kinds=(TensorKind.PRECISION_MEAN, TensorKind.PRECISION),
        )

    def add(self, message: Mapping[str, Tensor]) -> None:
        """Adds the terms of one client."""
        self._sum.add(message)

    def close_round(self) -> None:
        """Computes the means."""
        self._weights = self._sum.weighted_means(self._weights)
        self._sum.clear()

    def broadcast(self) -> Message:
        """Returns the weights."""
        return {key(TensorKind.MEAN, name): value for name, value in self._weights.items()}

    def state_dict(self) -> dict[str, Any]:
        """Returns the weights and the messages added in this round."""
        return {"weights": dict(self._weights), "total": dict(self._sum.total)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the state."""
        self._weights, self._sum.total = dict(state["weights"]), dict(state["total"])
