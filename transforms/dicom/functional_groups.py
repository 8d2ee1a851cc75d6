"""Functional groups of one-frame objects (DICOM PS3.3 C.7.6.16) as if their elements stood in the data set itself.

Enhanced objects, such as a synthesized 2D view stored as Breast Tomosynthesis (PS3.3 A.55), keep window, spacing, side
and the like in macros, shared by all frames or of each frame. With one frame both apply to the whole image.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .code_strings import read_codes

FUNCTIONAL_GROUP_TAGS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
"""The frame's own groups come last, and count more."""

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
"""What is taken from each macro. Frame Pixel Shift is none of them: it moves a mask that is subtracted."""
_ALTERNATIVES = (_VOI, _RESCALE)
"""Elements that replace one another: a frame's window also ends the validity of a table for all frames."""
_RENAMED = {"FrameLaterality": "ImageLaterality", "FrameType": "ImageType"}


def lift_functional_groups(header: Any) -> None:
    """Moves what is allowed of the functional groups of a single frame to the data set, and drops the groups.

    Precedence: the frame's own group, then the shared one, then what stands in the data set itself. Several frames
    keep nothing of them: such images are refused.

    Args:
        header: pydicom Dataset, changed in place.
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
    """Macros of a group, and what is allowed of each; a view that stands in the group itself counts as one."""
    yield group, _VIEW
    for name, keywords in _MACROS.items():
        for macro in list(group.get(name) or ())[:1]:
            yield macro, keywords


def _lift(header: Any, macro: Any, keywords: tuple[str, ...]) -> None:
    present = [keyword for keyword in keywords if macro.get(keyword) not in (None, "")]
    image_type = read_codes(header, "ImageType")
    if "FrameType" in present and image_type and "MIXED" not in image_type:
        present.remove("FrameType")  # Image Type says it of the only frame
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
