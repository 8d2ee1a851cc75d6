"""Copies the functional groups of single-frame objects (DICOM PS3.3 C.7.6.16) to the top level of the data set.

Enhanced objects, such as a synthesized 2D view stored as Breast Tomosynthesis (PS3.3 A.55), keep attributes such as the
window, spacing and laterality in macros, either shared by all frames or per frame. In a single-frame object, both apply
to the whole image.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .code_strings import read_codes

FUNCTIONAL_GROUP_TAGS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
"""Ordered by increasing precedence."""

_VIEW = ("ImageLaterality", "Laterality", "ViewPosition", "ViewCodeSequence", "BodyPartExamined")
_SPACING = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
_VOI = ("VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction")
_RESCALE = ("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept")
_INTENSITY = ("PixelIntensityRelationship", "PixelIntensityRelationshipSign")
_DISTANCES = (
    "EstimatedRadiographicMagnificationFactor", "DistanceSourceToDetector", "DistanceSourceToPatient",
)  # fmt: skip
_MACROS = {
    "PixelMeasuresSequence": _SPACING,
    "FrameVOILUTSequence": _VOI,
    "PixelValueTransformationSequence": _RESCALE,
    "FrameAnatomySequence": ("FrameLaterality", "AnatomicRegionSequence", *_VIEW),
    "PatientOrientationInFrameSequence": ("PatientOrientation",),
    "FramePixelDataPropertiesSequence": ("FrameType", *_SPACING, *_INTENSITY),
    "XRay3DFrameTypeSequence": ("FrameType",),
    "XRayGeometrySequence": _DISTANCES,
    "UnassignedSharedConvertedAttributesSequence": (*_VIEW, *_SPACING, *_DISTANCES, *_INTENSITY, *_VOI, *_RESCALE),
    "UnassignedPerFrameConvertedAttributesSequence": (*_VIEW, *_SPACING, *_DISTANCES, *_INTENSITY, *_VOI, *_RESCALE),
}
"""Elements taken from each macro. Frame Pixel Shift is not needed, because it only aligns masks for subtraction."""
_ALTERNATIVES = (_VOI, _RESCALE)
"""Groups of mutually exclusive elements: a window of the frame also replaces a table shared by all frames."""
_RENAMED = {"FrameLaterality": "ImageLaterality", "FrameType": "ImageType"}


def lift_functional_groups(header: Any) -> None:
    """Copies the allowed elements of the functional groups of a single frame to the data set, and drops the groups.

    The per-frame group takes precedence over the shared group, which takes precedence over the data set. Only the first
    item of each group is used; multi-frame images are refused later.

    Args:
        header: pydicom Dataset, modified in place.
    """
    if not any(tag in header for tag in FUNCTIONAL_GROUP_TAGS):
        return
    groups = [group for tag in FUNCTIONAL_GROUP_TAGS for group in list(header.get(tag) or ())[:1]]
    for tag in FUNCTIONAL_GROUP_TAGS:
        if tag in header:
            del header[tag]
    for macro, keywords in (found for group in groups for found in _iterate_macros(group)):
        _lift(header, macro, keywords)


def _iterate_macros(group: Any) -> Iterator[tuple[Any, tuple[str, ...]]]:
    """Yields the macros of a group with their allowed elements; the group itself may also contain view attributes."""
    yield group, _VIEW
    for name, keywords in _MACROS.items():
        for macro in list(group.get(name) or ())[:1]:
            yield macro, keywords


def _lift(header: Any, macro: Any, keywords: tuple[str, ...]) -> None:
    present = [keyword for keyword in keywords if macro.get(keyword) not in (None, "")]
    image_type = read_codes(header, "ImageType")
    if "FrameType" in present and image_type and "MIXED" not in image_type:
        present.remove("FrameType")  # Image Type already describes the only frame
    for alternatives in _ALTERNATIVES:
        if not set(alternatives).isdisjoint(present):
            for keyword in alternatives:
                if keyword in header:
                    del header[keyword]
    for keyword in present:
        if keyword in _RENAMED:
            setattr(header, _RENAMED[keyword], macro[keyword].value)
        else:
            header[macro[keyword].tag] = macro[keyword]
