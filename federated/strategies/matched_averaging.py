"""Averaging of matched networks: each client aligns its units with the broadcast network before FedAvg.

This is the matching of federated matched averaging (Wang et al., FedMA, ICLR 2020), but by weights and against one
reference (Ainsworth et al., Git Re-Basin, ICLR 2023) instead of a Bayesian nonparametric model of all clients' units:
messages remain terms of sums, and the number of units is fixed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from mtmedformer_monai.federated.alignment.align import AlignmentSettings, aligned
from mtmedformer_monai.federated.message import Message, TensorKind, Weights, pick
from mtmedformer_monai.federated.strategy import ClientRule, LocalTraining, ServerRule, Strategy
from mtmedformer_monai.layers.permutation_groups import PermutationGroups

from .fedavg import AveragingClient, AveragingServer, weighted_terms


class MatchedAveraging(Strategy):
    """Weighted averaging of networks whose units are matched to the broadcast network's.

    Args:
        damping: preference for the present order of the units: `AlignmentSettings.damping`.
    """

    image_precision = 1.0

    def __init__(self, damping: float = 0.02) -> None:
        self._settings = AlignmentSettings(damping=damping)

    def client(self, groups: PermutationGroups | None = None) -> ClientRule:
        """Returns a client that matches its trained network.

        Raises:
            ValueError: the network declares no groups.
        """
        if groups is None:
            raise ValueError(
                "matching expects a network that declares its permutation groups; see docs/permutations.md."
            )
        return MatchingClient(groups, self._settings)

    def server(self, weights: Mapping[str, Tensor]) -> ServerRule:
        """Returns a server that averages."""
        return AveragingServer(weights)


class MatchingClient(AveragingClient):
    """Trains without corrections, and sends its units in the broadcast network's order; keeps no state between rounds.

    Args:
        groups: permutation groups of the network.
        settings: of the matching.
    """

    def __init__(self, groups: PermutationGroups, settings: AlignmentSettings) -> None:
        self._groups, self._settings = groups, settings
        self._reference: Weights = {}

    def receive(self, broadcast: Mapping[str, Tensor]) -> Weights:
        """Returns the broadcast weights, the reference of the matching."""
        self._reference = {name: value.clone() for name, value in pick(broadcast, TensorKind.MEAN).items()}
        return pick(broadcast, TensorKind.MEAN)

    def send(self, training: LocalTraining) -> Message:
        """Returns `n w` and `n`, with units in the reference's order."""
        matched = aligned(self._reference, training.weights, self._groups, self._settings)
        return weighted_terms(replace(training, weights=matched))
