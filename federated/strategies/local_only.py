"""Each site on its own: nothing is exchanged but the initial weights. What a federation has to be better than."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from mtmedformer_monai.federated.strategy import ClientRule, ServerRule, Strategy
from mtmedformer_monai.layers.permutation_groups import PermutationGroups

from .fedavg import FedAvg
from .keep_local import KeepLocal


class LocalOnly(Strategy):
    """Sites go on from their own weights; the server's stay as they are."""

    def __init__(self) -> None:
        self._strategy = KeepLocal(FedAvg(), ["*"])

    def client(self, groups: PermutationGroups | None = None) -> ClientRule:
        """A site that keeps everything."""
        return self._strategy.client(groups)

    def server(self, weights: Mapping[str, Tensor]) -> ServerRule:
        """A server that hears nothing."""
        return self._strategy.server(weights)
