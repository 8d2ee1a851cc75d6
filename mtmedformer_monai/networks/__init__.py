"""Encoders, the feature pyramid and the multi-task network.

Names load when they are first used: importing this package alone imports neither MONAI nor torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .alternative_encoders import ResNetEncoder as ResNetEncoder
    from .alternative_encoders import SwinEncoder as SwinEncoder
    from .alternative_encoders import TimmEncoder as TimmEncoder
    from .feature_pyramid import FeaturePyramid as FeaturePyramid
    from .hierarchical_transformer import HierarchicalTransformer as HierarchicalTransformer
    from .hierarchical_transformer import TransformerSize as TransformerSize
    from .mtmedformer import MTMedFormer as MTMedFormer
    from .mtmedformer import SelectOutput as SelectOutput
    from .plain_vit import PlainViT as PlainViT
    from .pretrained import load_pvt_v2 as load_pvt_v2
    from .study_network import StudyNetwork as StudyNetwork

_HOMES = {
    "FeaturePyramid": "feature_pyramid",
    "HierarchicalTransformer": "hierarchical_transformer",
    "MTMedFormer": "mtmedformer",
    "PlainViT": "plain_vit",
    "ResNetEncoder": "alternative_encoders",
    "SelectOutput": "mtmedformer",
    "StudyNetwork": "study_network",
    "SwinEncoder": "alternative_encoders",
    "TimmEncoder": "alternative_encoders",
    "TransformerSize": "hierarchical_transformer",
    "load_pvt_v2": "pretrained",
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
