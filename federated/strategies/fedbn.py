"""FedBN (Li et al., ICLR 2021, algorithm 1): averaging with local norm layers.

The paper keeps parameters and statistics of batch norms at the clients; here this applies to any kind of norm layer.
"""

from __future__ import annotations

from collections.abc import Sequence

from .fedavg import FedAvg
from .keep_local import KeepLocal
from .norms import NORM_PATTERNS


class FedBN(KeepLocal):
    """Federated averaging of everything except norm layers.

    Args:
        norms: names or name patterns; `norm_parameters(network)` lists those of any network.
    """

    def __init__(self, norms: Sequence[str] = NORM_PATTERNS) -> None:
        super().__init__(FedAvg(), norms)
