"""A strategy by its name."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any, Final

from mtmedformer_monai.federated.strategy import Strategy

STRATEGIES: Final = {
    "bayesian": ("pvi.posterior_sites", "PosteriorSites"),
    "fedavg": ("strategies.fedavg", "FedAvg"),
    "fedprox": ("strategies.fedprox", "FedProx"),
    "fedbn": ("strategies.fedbn", "FedBN"),
    "scaffold": ("strategies.scaffold", "Scaffold"),
    "feddyn": ("strategies.feddyn", "FedDyn"),
    "fisher": ("strategies.fisher_merging", "FisherMerging"),
    "matching": ("strategies.matched_averaging", "MatchedAveraging"),
    "fedpa": ("strategies.fedpa", "FedPA"),
    "local": ("strategies.local_only", "LocalOnly"),
}
"""{name: (module, class)}. To add one: a file, and a line here and in `__init__.pyi`."""


def make_strategy(name: str, **settings: Any) -> Strategy:
    """Builds a strategy.

    Args:
        name: of `STRATEGIES`.
        settings: constructor arguments of its class.

    Raises:
        ValueError: another name, or a setting that the strategy doesn't have; the message lists those that there are.

    Example:
        >>> type(make_strategy("fedprox", proximal=0.1)).__name__
        'FedProx'
    """
    if name not in STRATEGIES:
        raise ValueError(f"strategy expects one of {', '.join(STRATEGIES)}, got {name!r}.")
    home, symbol = STRATEGIES[name]
    cls = getattr(import_module(f"mtmedformer_monai.federated.{home}"), symbol)
    allowed = list(inspect.signature(cls).parameters)
    unknown = sorted(set(settings) - set(allowed))
    if unknown:
        raise ValueError(f"strategy {name!r} has no setting {unknown[0]!r}; it has {', '.join(allowed) or 'none'}.")
    strategy: Strategy = cls(**settings)
    return strategy
