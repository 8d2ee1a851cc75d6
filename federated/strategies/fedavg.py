"""Federated averaging (McMahan et al., AISTATS 2017, algorithm 1): the mean of the sites' weights, by their images.

An average is a Gaussian product whose precisions are the numbers of images: sites send `n w` and `n`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mtmedformer_monai.federated.running_sum import RunningSum
from mtmedformer_monai.federated.strategy import (
    ClientRule,
    LocalTraining,
    Message,
    ServerRule,
    Strategy,
    TensorKind,
    Weights,
    key,
    pick,
)
from mtmedformer_monai.layers.permutation_groups import PermutationGroups


class FedAvg(Strategy):
    """Weighted averaging, without memory at the sites."""

    def client(self, groups: PermutationGroups | None = None) -> ClientRule:
        """A site that trains plainly."""
        return AveragingClient()

    def server(self, weights: Mapping[str, Tensor]) -> ServerRule:
        """A server that averages."""
        return AveragingServer(weights)


class AveragingClient(ClientRule):
    """Trains from the broadcast weights, and sends its own, times its images."""

    def receive(self, broadcast: Mapping[str, Tensor]) -> Weights:
        """The broadcast weights."""
        return pick(broadcast, TensorKind.MEAN)

    def send(self, training: LocalTraining) -> Message:
        """`n w` and `n`."""
        return weighted_terms(training)

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to restore."""


def weighted_terms(training: LocalTraining) -> Message:
    """`n w` and `n` of all weights that the site trains: terms of a weighted average."""
    message: Message = {}
    for name, count in training.num_samples.items():
        if count > 0:
            value = training.weights[name].float()
            message[key(TensorKind.PRECISION_MEAN, name)] = count * value
            message[key(TensorKind.PRECISION, name)] = torch.full_like(value, count)
    return message


class AveragingServer(ServerRule):
    """Weighted means of what arrives; weights that nobody trained stay, bit for bit.

    Args:
        weights: to start from.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._weights = {name: value.detach().clone() for name, value in weights.items()}
        self._sum = RunningSum(
            {name: value.shape for name, value in weights.items()},
            kinds=(TensorKind.PRECISION_MEAN, TensorKind.PRECISION),
        )

    def add(self, message: Mapping[str, Tensor]) -> None:
        """Adds one site's terms."""
        self._sum.add(message)

    def close_round(self) -> None:
        """Takes the means."""
        self._weights = self._sum.weighted_means(self._weights)
        self._sum.clear()

    def broadcast(self) -> Message:
        """The weights."""
        return {key(TensorKind.MEAN, name): value for name, value in self._weights.items()}

    def state_dict(self) -> dict[str, Any]:
        """Weights, and what was added since the last round."""
        return {"weights": dict(self._weights), "total": dict(self._sum.total)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores both."""
        self._weights, self._sum.total = dict(state["weights"]), dict(state["total"])
