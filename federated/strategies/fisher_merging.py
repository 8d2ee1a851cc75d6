"""Fisher-weighted merging (Matena and Raffel, NeurIPS 2022, eq. 2): mean weighted by Fisher information.

`theta = sum_k n_k F_k theta_k / sum_k n_k F_k`, with the diagonal F of the mean squared gradient of a sample; clients
are weighted by their numbers of images.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from mtmedformer_monai.federated.pvi.equations import PrecisionScale
from mtmedformer_monai.federated.strategy import ClientRule, ServerRule, Strategy
from mtmedformer_monai.layers.permutation_groups import PermutationGroups

from .fedavg import AveragingServer
from .memoryless_client import MemorylessClient


class FisherMerging(Strategy):
    """Merges the clients' networks by Fisher information in each round; clients keep no state.

    Args:
        floor: added to F, so that weights with a flat loss at all clients are plainly averaged.
    """

    def __init__(self, floor: float = 1e-8) -> None:
        if floor <= 0:
            raise ValueError(f"floor expects a number above 0, got {floor}.")
        self._floor = floor

    def client(self, groups: PermutationGroups | None = None) -> ClientRule:
        """Returns a client that sends `n F w` and `n F`."""
        return MemorylessClient(PrecisionScale(isotropic=self._floor, curvature=1.0))

    def server(self, weights: Mapping[str, Tensor]) -> ServerRule:
        """Returns a server that computes weighted means."""
        return AveragingServer(weights)
