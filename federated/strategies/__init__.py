"""Strategies of federation, a file each, all behind `mtmedformer_monai.federated.strategy.Strategy`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .fedavg import FedAvg as FedAvg

_HOMES = {
    "FedAvg": "fedavg",
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
