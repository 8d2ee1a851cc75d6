"""Construction of split-learning baselines by name."""

from __future__ import annotations

from typing import Any

from mtmedformer_monai.federated.choices import SPLIT_SYSTEMS as SPLIT_SYSTEMS
from mtmedformer_monai.federated.named_classes import build_by_name
from mtmedformer_monai.networks.mtmedformer import MTMedFormer

from .system import LocalSettings, SplitSystem


def make_split_system(name: str, network: MTMedFormer, local: LocalSettings, **settings: Any) -> SplitSystem:
    """Builds a split-learning baseline.

    Args:
        name: one of `SPLIT_SYSTEMS`.
        network: initial network; copied.
        local: training settings of sites and server.
        settings: further constructor arguments of its class.

    Raises:
        ValueError: an unknown name or setting; the message lists the choices.
    """
    system: SplitSystem = build_by_name("split-learning baseline", SPLIT_SYSTEMS, name, network, local, **settings)
    return system
