"""Strategies of federation, a file each, all behind `mtmedformer_monai.federated.strategy.Strategy`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .compressed import Compressed as Compressed
    from .factory import STRATEGIES as STRATEGIES
    from .factory import make_strategy as make_strategy
    from .fedavg import FedAvg as FedAvg
    from .fedbn import FedBN as FedBN
    from .feddyn import FedDyn as FedDyn
    from .fedpa import FedPA as FedPA
    from .fedprox import FedProx as FedProx
    from .fisher_merging import FisherMerging as FisherMerging
    from .keep_local import KeepLocal as KeepLocal
    from .local_only import LocalOnly as LocalOnly
    from .matched_averaging import MatchedAveraging as MatchedAveraging
    from .norms import norm_parameters as norm_parameters
    from .posterior_sites import PosteriorSites as PosteriorSites
    from .scaffold import Scaffold as Scaffold

_HOMES = {
    "STRATEGIES": "factory",
    "Compressed": "compressed",
    "FedAvg": "fedavg",
    "FedBN": "fedbn",
    "FedDyn": "feddyn",
    "FedPA": "fedpa",
    "FedProx": "fedprox",
    "FisherMerging": "fisher_merging",
    "KeepLocal": "keep_local",
    "LocalOnly": "local_only",
    "MatchedAveraging": "matched_averaging",
    "PosteriorSites": "posterior_sites",
    "Scaffold": "scaffold",
    "make_strategy": "factory",
    "norm_parameters": "norms",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Imports a public name from the file that defines it (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    return __all__
