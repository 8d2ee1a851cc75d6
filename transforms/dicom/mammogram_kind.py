"""Detects from the header which kinds of nonstandard mammograms an image belongs to."""

from __future__ import annotations

from typing import Any

from .code_strings import read_code, read_codes
from .codes import region_of, view_modifier_of
from .header import read_modality, read_view
from .spacing import read_length

_SPOT_VIEWS = {"spot compression", "magnification"}
_TOMOSYNTHESIS_CLASS = "1.2.840.10008.5.1.4.1.1.13.1.3"
_TOMOSYNTHESIS = ("TOMOSYNTHESIS", "TOMO_PROJ", "TOMO")
_LOCALIZATION = ("STEREO_", "PREFIRE", "POSTFIRE", "POSTBIOPSY", "POSTMARKER", "TOMO_SCOUT")

MAGNIFIED = 1.3
"""Smallest Estimated Radiographic Magnification Factor of a magnified image. The factor is below 1.1 for a breast in
contact with the support, and 1.5 or more on a magnification stand."""


def read_kinds(header: Any) -> tuple[str, ...]:
    """Returns the fields of `MammogramRules` that apply to an image; none for modalities other than MG.

    Args:
        header: pydicom Dataset.
    """
    if read_modality(header) != "MG":
        return ()
    terms, modifiers = _image_type(header), _view_modifiers(header)
    synthesized = "GENERATED_2D" in terms
    position = read_code(header, "ViewPosition")
    has_implant = read_code(header, "BreastImplantPresent") == "YES"
    signs = {
        "implants": has_implant or "implant displaced" in modifiers or position.endswith("ID"),
        "spot_views": bool(modifiers & _SPOT_VIEWS),
        "magnified": (read_length(header, "EstimatedRadiographicMagnificationFactor") or 1.0) >= MAGNIFIED,
        "specimens": _is_specimen(header, terms),
        "tomosynthesis": not synthesized and _is_tomosynthesis(header, terms),
        "synthesized": synthesized,
        "localization": any(term.startswith(_LOCALIZATION) for term in terms),
        "subtracted": "SUBTRACTION" in terms,
        "color": not (read_code(header, "PhotometricInterpretation") or "MONOCHROME").startswith("MONOCHROME"),
    }
    return tuple(kind for kind, applies in signs.items() if applies)


def _image_type(header: Any) -> frozenset[str]:
    """Reads the third and following values of Image Type (PS3.3 C.8.11.7.1.4 and C.8.21.6.1.1)."""
    return frozenset(filter(None, read_codes(header, "ImageType")[2:]))


def _view_modifiers(header: Any) -> frozenset[str]:
    """Reads the names of the view modifiers (CID 4015)."""
    views = header.get("ViewCodeSequence") or ()
    return frozenset(
        view_modifier_of(modifier) for view in views for modifier in view.get("ViewModifierCodeSequence") or ()
    )


def _is_specimen(header: Any, terms: frozenset[str]) -> bool:
    """Returns whether the view (CID 4014), Image Type, Body Part Examined or the region code names a specimen."""
    if read_view(header) == "SPECIMEN" or any("SPECIMEN" in term for term in terms):
        return True
    if "SPECIMEN" in read_code(header, "BodyPartExamined"):
        return True
    return any(region_of(item) == "SPECIMEN" for item in header.get("AnatomicRegionSequence") or ())


def _is_tomosynthesis(header: Any, terms: frozenset[str]) -> bool:
    return read_code(header, "SOPClassUID") == _TOMOSYNTHESIS_CLASS or not terms.isdisjoint(_TOMOSYNTHESIS)
