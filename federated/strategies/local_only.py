"""Local training without exchange, except for the initial weights: the baseline of every federation."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from mtmedformer_monai.federated.strategy import ClientRule, ServerRule, Strategy
from mtmedformer_monai.layers.permutation_groups import PermutationGroups

from .fedavg import FedAvg
from .keep_local import KeepLocal


class LocalOnly(Strategy):
    """Clients continue from their own weights; the server's weights never change."""

    def __init__(self) -> None:
        self._strategy = KeepLocal(FedAvg(), ["*"])

    def client(self, groups: PermutationGroups | None = None) -> ClientRule:
        """Returns a client that keeps all parameters local."""
        return self._strategy.client(groups)

    def server(self, weights: Mapping[str, Tensor]) -> ServerRule:
        """Returns a server that receives no terms."""
        return self._strategy.server(weights)
