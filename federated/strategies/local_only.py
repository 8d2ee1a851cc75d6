"""Local training without exchange, except for the initial weights: the baseline of every federation."""

from __future__ import annotations

from .fedavg import FedAvg
from .keep_local import KeepLocal


class LocalOnly(KeepLocal):
    """Clients continue from their own weights; the server's weights never change."""

    def __init__(self) -> None:
        super().__init__(FedAvg(), ["*"])
