"""A neighbor's system by its name."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any, Final

from mtmedformer_monai.networks.mtmedformer import MTMedFormer

from .system import LocalSettings, NeighborSystem

NEIGHBORS: Final = {
    "festa": ("festa", "FeSTA"),
    "p_festa": ("p_festa", "PFeSTA"),
    "fesvibs": ("fesvibs", "FeSViBS"),
    "task_agnostic": ("task_agnostic", "TaskAgnostic"),
}
"""{name: (file, class)}. To add one: a file, and a line here."""


def make_neighbor(name: str, network: MTMedFormer, local: LocalSettings, **settings: Any) -> NeighborSystem:
    """Builds a system.

    Args:
        name: of `NEIGHBORS`.
        network: to start from; copied.
        local: how sites and server train.
        settings: further constructor arguments of its class.

    Raises:
        ValueError: another name; the message lists the choices.
        TypeError: a setting that the system doesn't have; the message lists those that it has.
    """
    if name not in NEIGHBORS:
        raise ValueError(f"neighbor expects one of {', '.join(NEIGHBORS)}, got {name!r}.")
    home, symbol = NEIGHBORS[name]
    cls = getattr(import_module(f"mtmedformer_monai.federated.split.{home}"), symbol)
    allowed = list(inspect.signature(cls).parameters)[2:]
    unknown = sorted(set(settings) - set(allowed))
    if unknown:
        raise TypeError(f"neighbor {name!r} has no setting {unknown[0]!r}; it has {', '.join(allowed)}.")
    system: NeighborSystem = cls(network, local, **settings)
    return system
