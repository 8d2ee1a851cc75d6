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
    # Patient, C.7.1.1
    "IssuerOfPatientID",
    "IssuerOfPatientIDQualifiersSequence",
    "OtherPatientIDsSequence",
    "PatientBirthTime",
    "EthnicGroup",
    "QualityControlSubject",
    "PatientSpeciesDescription",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    # General Study, C.7.2.1
    "StudyDescription",
    "IssuerOfAccessionNumberSequence",
    # Patient Study, C.7.2.2
    "PatientAge",
    "PatientSize",
    "PatientWeight",
)
"""Further elements of these modules and of Patient Study that are copied."""

IDENTIFYING = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "AccessionNumber",
    "StudyID",
    "ReferringPhysicianName",
)
"""Names and identifiers, by which an archive relates a result to its patient and order: kept even if they are invalid,
such as longer than their VR allows."""

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

    Names and identifiers are returned as they are. If their Specific Character Set is none of the standard but pydicom
    decodes it, such as 'UTF-8' or 'ISO-IR 192', the returned one is ISO_IR 192. Memory is bounded as in `read_header`.

    Args:
        path: the file.

    Returns:
        pydicom Dataset in which
        - all elements of `REQUIRED` are present, and empty where the source has none;
        - elements of `IDENTIFYING` are those of the source; other elements with an invalid value are empty or absent;
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
    _repair_character_set(header)
    header.remove_private_tags()
    for keyword in (*REQUIRED, *OPTIONAL, *IMAGE, *_PROJECTION_HAS_NONE):
        if keyword in header and (keyword in _PROJECTION_HAS_NONE or not _is_kept(header, keyword)):
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


def _repair_character_set(header: Any) -> None:
    """Replaces a term that the standard does not have (PS3.3 C.12.1.1.2) and that pydicom decodes nevertheless.

    Text of an unknown character set is decoded, and encoded again, byte by byte.
    """
    from pydicom.charset import convert_encodings, default_encoding, python_encoding

    given = header.get("SpecificCharacterSet") or ""
    unknown = [term for term in ([given] if isinstance(given, str) else given) if term not in python_encoding]
    if unknown and default_encoding not in convert_encodings(unknown):
        header.SpecificCharacterSet = "ISO_IR 192"


def _is_kept(header: Any, keyword: str) -> bool:
    return keyword in IDENTIFYING or keyword == "SpecificCharacterSet" or _is_valid(header[keyword])


def _is_valid(element: Any) -> bool:
    """Returns whether an element conforms to its VR (PS3.5 6.2), and dates and times exist."""
    from pydicom.config import RAISE
    from pydicom.valuerep import DA, TM, validate_value

    if element.VR == "SQ":
        return True
    values = element.value if element.VM > 1 else [element.value]
    try:
        for value in values:
            if element.VR in {"DA", "TM"}:
                (DA if element.VR == "DA" else TM)(str(value))
            validate_value(element.VR, str(value), RAISE)
    except (ValueError, TypeError, OverflowError):
        return False
    return True


def _is_spacing(value: Any) -> bool:
    try:
        pair = [float(length) for length in value]
    except (TypeError, ValueError):
        return False
    return len(pair) == 2 and all(0 < length < 1e4 for length in pair)
