"""MONAI dictionary transforms for 2D projection radiographs.

Names load when they are first used: importing this package alone imports neither MONAI nor torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .breast_background import CleanBackgroundd as CleanBackgroundd
    from .breast_background import clean_background as clean_background
    from .breast_mask import find_breast as find_breast
    from .crop_breast import CropBreastd as CropBreastd
    from .crop_breast import crop_item as crop_item
    from .crop_breast import find_breast_box as find_breast_box
    from .errors import BrokenPixelDataError as BrokenPixelDataError
    from .errors import MissingDecoderError as MissingDecoderError
    from .errors import MultiFrameError as MultiFrameError
    from .errors import NoPixelsError as NoPixelsError
    from .errors import RadiographError as RadiographError
    from .errors import RefusedImageError as RefusedImageError
    from .errors import UnreadableFileError as UnreadableFileError
    from .errors import UnsupportedImageError as UnsupportedImageError
    from .errors import UnsupportedModalityError as UnsupportedModalityError
    from .fit import FitRadiographd as FitRadiographd
    from .for_processing import render_for_processing as render_for_processing
    from .hide_patches import HidePatchesd as HidePatchesd
    from .load_radiograph import LoadRadiographd as LoadRadiographd
    from .load_radiograph import make_meta_tensor as make_meta_tensor
    from .load_targets import LoadTargetsd as LoadTargetsd
    from .mammogram_rules import MammogramRules as MammogramRules
    from .orient_breast import OrientBreastd as OrientBreastd
    from .orient_breast import plan_turn as plan_turn
    from .presentation_look import render_mammogram as render_mammogram
    from .random_exposure import Exposure as Exposure
    from .random_exposure import RandExposured as RandExposured
    from .random_exposure import expose as expose
    from .random_geometry import Motion as Motion
    from .random_geometry import RandGeometryd as RandGeometryd
    from .random_geometry import move_item as move_item
    from .reading import read_radiograph as read_radiograph
    from .restore import RestoreToSourced as RestoreToSourced
    from .restore import restore_boxes as restore_boxes
    from .restore import restore_masks as restore_masks
    from .stretch import StretchContrastd as StretchContrastd
    from .stretch import stretch_contrast as stretch_contrast
    from .turns import Turn as Turn
    from .turns import turn_item as turn_item

_HOMES = {
    "BrokenPixelDataError": "errors",
    "CleanBackgroundd": "breast_background",
    "CropBreastd": "crop_breast",
    "Exposure": "random_exposure",
    "FitRadiographd": "fit",
    "HidePatchesd": "hide_patches",
    "LoadRadiographd": "load_radiograph",
    "LoadTargetsd": "load_targets",
    "MammogramRules": "mammogram_rules",
    "MissingDecoderError": "errors",
    "Motion": "random_geometry",
    "MultiFrameError": "errors",
    "NoPixelsError": "errors",
    "OrientBreastd": "orient_breast",
    "RadiographError": "errors",
    "RandExposured": "random_exposure",
    "RandGeometryd": "random_geometry",
    "RefusedImageError": "errors",
    "RestoreToSourced": "restore",
    "StretchContrastd": "stretch",
    "Turn": "turns",
    "UnreadableFileError": "errors",
    "UnsupportedImageError": "errors",
    "UnsupportedModalityError": "errors",
    "clean_background": "breast_background",
    "crop_item": "crop_breast",
    "expose": "random_exposure",
    "find_breast": "breast_mask",
    "find_breast_box": "crop_breast",
    "make_meta_tensor": "load_radiograph",
    "move_item": "random_geometry",
    "plan_turn": "orient_breast",
    "read_radiograph": "reading",
    "render_for_processing": "for_processing",
    "render_mammogram": "presentation_look",
    "restore_boxes": "restore",
    "restore_masks": "restore",
    "stretch_contrast": "stretch",
    "turn_item": "turns",
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
