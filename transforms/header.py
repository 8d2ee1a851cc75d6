"""What we read of a DICOM header, and nothing else."""

from __future__ import annotations

from typing import Any

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
    "VOILUTFunction", "PresentationLUTShape", "PresentationIntentType", "PixelIntensityRelationshipSign",
)  # fmt: skip
GEOMETRY_TAGS = (
    "PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "EstimatedRadiographicMagnificationFactor",
    "DistanceSourceToDetector", "DistanceSourceToPatient", "PatientOrientation",
)  # fmt: skip
VIEW_TAGS = ("SOPClassUID", "Modality", "ImageLaterality", "Laterality", "ViewPosition", "ViewCodeSequence")
OVERLAY_TAGS = tuple((group << 16) | element for group in range(0x6000, 0x6020, 2) for element in (0x0010, 0x3000))
ALLOWED_TAGS = (*PIXEL_TAGS, *GRAYSCALE_TAGS, *GEOMETRY_TAGS, *VIEW_TAGS, *OVERLAY_TAGS)
"""The only elements that enter memory: no attribute that names a person is among them."""

# Code values of DICOM CID 4010 (DX view) and CID 4014 (mammography view), SNOMED CT.
_VIEW_CODES = {
    "272479007": "PA", "399348003": "AP", "399173006": "LL", "399198007": "RL", "399067008": "LAT",
    "399162004": "CC", "399368009": "MLO", "399260004": "ML", "399352003": "LM", "399099002": "LMO",
    "399196006": "FB", "399188001": "SIO", "441555000": "ISO", "399192008": "XCCL", "399101009": "XCCM",
}  # fmt: skip


def read_laterality(header: Any) -> str:
    """'L', 'R', 'B', or '' where unknown or unpaired (DICOM PS3.3 C.8.11.1: ImageLaterality; C.7.3.1: Laterality)."""
    for keyword in ("ImageLaterality", "Laterality"):
        value = str(header.get(keyword) or "").strip().upper()
        if value in {"L", "R", "B"}:
            return value
    return ""


def read_view(header: Any) -> str:
    """'PA', 'AP', 'LL', 'CC', 'MLO', ... or '' (PS3.3 C.8.11.5 and C.8.11.7: ViewCodeSequence; ViewPosition)."""
    value = str(header.get("ViewPosition") or "").strip().upper()
    if value:
        return value
    for item in header.get("ViewCodeSequence") or ():
        return _VIEW_CODES.get(str(item.get("CodeValue") or ""), "")
    return ""


def read_modality(header: Any) -> str:
    """'CR', 'DX', 'MG', 'RG', ... or '' where the header does not say (PS3.3 C.7.3.1.1.1)."""
    return str(header.get("Modality") or "").strip().upper()
