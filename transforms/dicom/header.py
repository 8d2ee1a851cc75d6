"""The elements of a DICOM header that are read, and accessors for some of them."""

from __future__ import annotations

from typing import Any

from mtmedformer_monai.transforms.view_names import is_known_view, normalize_laterality, normalize_view

from .code_strings import read_code, read_codes
from .codes import view_of
from .functional_groups import FUNCTIONAL_GROUP_TAGS

PIXEL_TAGS = (
    "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PlanarConfiguration", "PhotometricInterpretation",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit",
    "RedPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData", "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData", "SegmentedRedPaletteColorLookupTableData",
    "SegmentedGreenPaletteColorLookupTableData", "SegmentedBluePaletteColorLookupTableData",
    "ExtendedOffsetTable", "ExtendedOffsetTableLengths", "PixelData", "FloatPixelData", "DoubleFloatPixelData",
)  # fmt: skip
GRAYSCALE_TAGS = (
    "ModalityLUTSequence", "RescaleSlope", "RescaleIntercept", "VOILUTSequence", "WindowCenter", "WindowWidth",
    "VOILUTFunction", "PresentationLUTShape", "PresentationIntentType", "PixelIntensityRelationship",
    "PixelIntensityRelationshipSign",
)  # fmt: skip
GEOMETRY_TAGS = (
    "PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "EstimatedRadiographicMagnificationFactor",
    "DistanceSourceToDetector", "DistanceSourceToPatient", "PatientOrientation",
)  # fmt: skip
VIEW_TAGS = (
    "SOPClassUID", "Modality", "ImageType", "ImageLaterality", "Laterality", "ViewPosition", "ViewCodeSequence",
    "BodyPartExamined", "AnatomicRegionSequence", "BreastImplantPresent", "AcquisitionDeviceProcessingDescription",
)  # fmt: skip
UID_TAGS = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
"""Elements by which a result can be traced to its image."""

OVERLAY_TAGS = tuple((group << 16) | element for group in range(0x6000, 0x6020, 2) for element in (0x0010, 0x3000))
ALLOWED_TAGS = (
    *PIXEL_TAGS, *GRAYSCALE_TAGS, *GEOMETRY_TAGS, *VIEW_TAGS, *UID_TAGS, *FUNCTIONAL_GROUP_TAGS, *OVERLAY_TAGS,
)  # fmt: skip
"""The only elements that are read; none of them identifies a person. From functional groups, too, only these elements
are kept."""

_FOR_PROCESSING_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.1.1.1",  # digital X-ray
    "1.2.840.10008.5.1.4.1.1.1.2.1",  # digital mammography
    "1.2.840.10008.5.1.4.1.1.1.3.1",  # intra-oral
    "1.2.840.10008.5.1.4.1.1.13.1.5",  # breast projection
}


def read_laterality(header: Any) -> str:
    """Reads the laterality: 'L', 'R', 'B', or '' if it is unknown or the body part is unpaired.

    Image Laterality (DICOM PS3.3 C.8.11.1) takes precedence over Laterality (C.7.3.1).
    """
    image = normalize_laterality(read_code(header, "ImageLaterality"))
    return image or normalize_laterality(read_code(header, "Laterality"))


def read_view(header: Any) -> str:
    """Reads the view: 'PA', 'AP', 'LL', 'CC', 'MLO', ... or '' (PS3.3 C.8.11.5 and C.8.11.7).

    View Position is used if it is a known view, otherwise the View Code Sequence, otherwise View Position as given. In
    the files of CBIS-DDSM, Patient Orientation contains the view instead of an orientation.
    """
    position = normalize_view(read_code(header, "ViewPosition"))
    if is_known_view(position):
        return position
    for item in header.get("ViewCodeSequence") or ():
        if name := view_of(item):
            return name
    orientation = read_codes(header, "PatientOrientation")
    misplaced = normalize_view(orientation[0]) if len(orientation) == 1 else ""
    return position or (misplaced if is_known_view(misplaced) else "")


def is_for_processing(header: Any) -> bool:
    """Returns whether the pixels are detector values, not intended for display.

    The criterion is Presentation Intent Type (PS3.3 C.8.11.1) or, if it is missing, the SOP class.
    """
    intent = read_code(header, "PresentationIntentType")
    return intent == "FOR PROCESSING" or (not intent and read_code(header, "SOPClassUID") in _FOR_PROCESSING_CLASSES)


def read_modality(header: Any) -> str:
    """Reads the modality: 'CR', 'DX', 'MG', 'RG', ... or '' if it is missing (PS3.3 C.7.3.1.1.1)."""
    return read_code(header, "Modality")


def read_uids(header: Any) -> tuple[str, str, str]:
    """Reads the SOP, Series and Study Instance UIDs (PS3.3 C.12.1, C.7.3.1, C.7.2.1); '' if missing or invalid."""
    values = (str(header.get(tag) or "").strip(" \0") for tag in UID_TAGS)
    sop, series, study = (value if set(value) <= set("0123456789.") else "" for value in values)
    return sop, series, study
