"""Reads the header of a source image for the DICOM objects that refer to it, and repairs invalid elements."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mtmedformer_monai.transforms.dicom.header import read_laterality
from mtmedformer_monai.transforms.dicom.parse import read_header
from mtmedformer_monai.transforms.geometry.patient_orientation import read_patient_orientation

from .quiet import quiet_libraries

REQUIRED = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "StudyID",
    "ReferringPhysicianName",
)
"""Type 2 elements of the modules Patient (PS3.3 C.7.1.1) and General Study (C.7.2.1): present in every object, and
empty if they are unknown."""

OPTIONAL = (
    "IssuerOfPatientID",
    "PatientBirthTime",
    "OtherPatientIDs",
    "EthnicGroup",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "PatientSpeciesDescription",
    "StudyDescription",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
)
"""Further elements of these modules and of Patient Study (C.7.2.2) that are copied."""

IMAGE = (
    "SpecificCharacterSet",
    "InstanceNumber",
    "SeriesNumber",
    "SeriesDescription",
    "Manufacturer",
    "ManufacturerModelName",
    "ContentDate",
    "ContentTime",
    "AcquisitionDate",
    "AcquisitionTime",
    "TimezoneOffsetFromUTC",
    "BurnedInAnnotation",
    "LossyImageCompression",
)
"""Elements about the source image that reports use."""

_GENDERS = {"M", "F", "O"}
_PROJECTION_HAS_NONE = (
    "FrameOfReferenceUID",  # without a patient-based position, writers would look for one
    "Laterality",
)


def read_source_header(path: str | Path) -> Any:
    """Reads the header of a DICOM image, without pixel data, private elements and any element that is not listed.

    Memory is bounded as in `read_header`.

    Args:
        path: the file.

    Returns:
        pydicom Dataset in which
        - all elements of `REQUIRED` are present, empty where the source has none or an invalid value;
        - `PatientOrientation` is present, and empty if unknown (PS3.3 C.7.6.1.1.1);
        - `ImageLaterality` is 'L', 'R', 'B' or absent; it is taken from `Laterality` where the image has none;
        - `PixelSpacing` is absent unless it is a pair of lengths above 0.

    Raises:
        RadiographError: the file cannot be parsed.
    """
    with quiet_libraries():
        header = read_header(path, with_pixels=False, more_tags=[*REQUIRED, *OPTIONAL, *IMAGE])
        repair_header(header)
    return header


def repair_header(header: Any) -> None:
    """Makes a header's modules valid, in place; see `read_source_header`."""
    laterality, orientation = read_laterality(header), read_patient_orientation(header)
    for keyword in (*REQUIRED, *OPTIONAL, *IMAGE, *_PROJECTION_HAS_NONE):
        if keyword in header and (keyword in _PROJECTION_HAS_NONE or not _is_valid(header, keyword)):
            delattr(header, keyword)
    for keyword in REQUIRED:
        if keyword not in header:
            setattr(header, keyword, "")
    if str(header.PatientSex) not in _GENDERS:
        header.PatientSex = ""
    header.PatientOrientation = orientation.split("\\") if orientation else ""
    if laterality:
        header.ImageLaterality = laterality
    elif "ImageLaterality" in header:
        del header.ImageLaterality
    spacing = header.get("PixelSpacing")
    if spacing is not None and not _is_spacing(spacing):
        del header.PixelSpacing


def _is_valid(header: Any, keyword: str) -> bool:
    """Returns whether an element conforms to its VR (PS3.5 6.2), and dates and times exist."""
    from pydicom.config import RAISE
    from pydicom.valuerep import DA, TM, validate_value

    element = header[keyword]
    values = element.value if element.VM > 1 else [element.value]
    try:
        for value in values:
            if element.VR in {"DA", "TM"}:
                (DA if element.VR == "DA" else TM)(str(value))
            if element.VR not in {"IS", "DS"}:
                validate_value(element.VR, value if element.VR == "PN" else str(value), RAISE)
    except (ValueError, TypeError, OverflowError):
        return False
    return True


def _is_spacing(value: Any) -> bool:
    try:
        pair = [float(length) for length in value]
    except (TypeError, ValueError):
        return False
    return len(pair) == 2 and all(0 < length < 1e4 for length in pair)
