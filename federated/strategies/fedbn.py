"""FedBN (Li et al., ICLR 2021, algorithm 1): averaging, with each site's norms its own.

The paper keeps batch norms, parameters and statistics; here whatever norms a network has.
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
    """Federated averaging of all but the norms.

    Args:
        norms: names, or patterns of names; `norm_parameters(network)` lists those of any network.
    """

    def __init__(self, norms: Sequence[str] = NORM_PATTERNS) -> None:
        self._strategy = KeepLocal(FedAvg(), norms)

    def client(self, groups: PermutationGroups | None = None) -> ClientRule:
        """A site that keeps its norms."""
        return self._strategy.client(groups)

    def server(self, weights: Mapping[str, Tensor]) -> ServerRule:
        """A server that averages the rest."""
        return self._strategy.server(weights)
