"""What we read of a DICOM header, and nothing else."""

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
"""What a result is traced to its image by."""

OVERLAY_TAGS = tuple((group << 16) | element for group in range(0x6000, 0x6020, 2) for element in (0x0010, 0x3000))
ALLOWED_TAGS = (
    *PIXEL_TAGS, *GRAYSCALE_TAGS, *GEOMETRY_TAGS, *VIEW_TAGS, *UID_TAGS, *FUNCTIONAL_GROUP_TAGS, *OVERLAY_TAGS,
)  # fmt: skip
"""The only elements that enter memory: no attribute that names a person is among them. Of functional groups nothing
but what is named here stays."""

_FOR_PROCESSING_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.1.1.1",  # digital X-ray
    "1.2.840.10008.5.1.4.1.1.1.2.1",  # digital mammography
    "1.2.840.10008.5.1.4.1.1.1.3.1",  # intra-oral
    "1.2.840.10008.5.1.4.1.1.13.1.5",  # breast projection
}


def read_laterality(header: Any) -> str:
    """'L', 'R', 'B', or '' where unknown or unpaired (DICOM PS3.3 C.8.11.1: ImageLaterality; C.7.3.1: Laterality)."""
    image = normalize_laterality(read_code(header, "ImageLaterality"))
    return image or normalize_laterality(read_code(header, "Laterality"))


def read_view(header: Any) -> str:
    """'PA', 'AP', 'LL', 'CC', 'MLO', ... or '' (PS3.3 C.8.11.5 and C.8.11.7).

    View Position where it names a known view, else the View Code Sequence, else View Position as it stands. The Patient
    Orientation of CBIS-DDSM's files holds the view, and no orientation.
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
    """Whether the pixels are what the detector measured, not made for display (PS3.3 C.8.11.1: Presentation Intent)."""
    intent = read_code(header, "PresentationIntentType")
    return intent == "FOR PROCESSING" or (not intent and read_code(header, "SOPClassUID") in _FOR_PROCESSING_CLASSES)


def read_modality(header: Any) -> str:
    """'CR', 'DX', 'MG', 'RG', ... or '' where the header does not say (PS3.3 C.7.3.1.1.1)."""
    return read_code(header, "Modality")


def read_uids(header: Any) -> tuple[str, str, str]:
    """SOP, Series and Study Instance UID (PS3.3 C.12.1, C.7.3.1, C.7.2.1), each '' where it is missing or no UID."""
    values = (str(header.get(tag) or "").strip(" \0") for tag in UID_TAGS)
    sop, series, study = (value if set(value) <= set("0123456789.") else "" for value in values)
    return sop, series, study
