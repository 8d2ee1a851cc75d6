"""A federation simulated on one machine: a cohort dealt to sites, each site in a process, and what comes out.

Names load when they are first used: importing this package alone imports neither MONAI nor torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .comparison import compare as compare
    from .comparison import simulate as simulate
    from .settings import SimulationSettings as SimulationSettings

_HOMES = {
    "SimulationSettings": "settings",
    "compare": "comparison",
    "simulate": "comparison",
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
