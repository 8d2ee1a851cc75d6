"""Construction of strategies by name."""

from __future__ import annotations

from typing import Any, Final

from mtmedformer_monai.federated.choices import STRATEGIES as STRATEGIES
from mtmedformer_monai.federated.named_classes import build_by_name
from mtmedformer_monai.federated.strategy import Strategy

from .compressed import Compressed

COMPRESSIONS: Final = ("float32", "float16")
"""Number formats of the precision-weighted means in compressed messages."""


def make_strategy(name: str, compress: str = "", **settings: Any) -> Strategy:
    """Builds a strategy.

    Args:
        name: one of `STRATEGIES`.
        compress: '' sends tensors unchanged; 'float32' and 'float16' send packets (`Compressed`), whose
            precision-weighted means take four or two bytes per weight. For `bayesian` this implies `coded_precision`.
        settings: constructor arguments of its class.

    Raises:
        ValueError: an unknown name, compression or setting; the message lists the choices.

    Example:
        >>> type(make_strategy("fedprox", proximal=0.1)).__name__
        'FedProx'
    """
    if compress not in ("", *COMPRESSIONS):
        raise ValueError(f"compress expects one of {', '.join(COMPRESSIONS)} or nothing, got {compress!r}.")
    if compress and name == "bayesian":
        settings = {"coded_precision": True, **settings}
    strategy: Strategy = build_by_name("strategy", STRATEGIES, name, **settings)
    return Compressed(strategy, half_mean=compress == "float16") if compress else strategy
