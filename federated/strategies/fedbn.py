"""FedBN (Li et al., ICLR 2021, algorithm 1): averaging with local norm layers.

The paper keeps parameters and statistics of batch norms at the clients; here this applies to any kind of norm layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from mtmedformer_monai.federated.strategy import ClientRule, ServerRule, Strategy
from mtmedformer_monai.layers.permutation_groups import PermutationGroups

from .fedavg import FedAvg
from .keep_local import KeepLocal
from .norms import NORM_PATTERNS


class FedBN(Strategy):
    """Federated averaging of everything except norm layers.

    Args:
        norms: names or name patterns; `norm_parameters(network)` lists those of any network.
    """

    def __init__(self, norms: Sequence[str] = NORM_PATTERNS) -> None:
        self._strategy = KeepLocal(FedAvg(), norms)

    def client(self, groups: PermutationGroups | None = None) -> ClientRule:
        """Returns a client that keeps its norm layers."""
        return self._strategy.client(groups)

    def server(self, weights: Mapping[str, Tensor]) -> ServerRule:
        """Returns a server that averages the rest."""
        return self._strategy.server(weights)
