"""What DICOM outputs take from the header of their source: references, patient and study (DICOM PS3.3 C.7.1, C.7.2).

highdicom validates these attributes strictly, and logs the patient's name if it has only one component. Archives
contain names, sexes and dates that the standard does not allow. Outputs are therefore built from a header without a
patient, and the attributes of patient and study are copied afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from typing import Any

from pydicom import config
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.valuerep import DA, TM, validate_value

from .source_header import REQUIRED

REQUIRED_UIDS = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
_DATES = ("PatientBirthDate", "StudyDate", "StudyTime")

PATIENT_AND_STUDY = (
    "SpecificCharacterSet",
    "TimezoneOffsetFromUTC",
    *REQUIRED,
    # Patient, PS3.3 C.7.1.1
    "IssuerOfPatientID",
    "IssuerOfPatientIDQualifiersSequence",
    "OtherPatientIDsSequence",
    "PatientBirthTime",
    "EthnicGroup",
    "PatientComments",
    "QualityControlSubject",
    "PatientSpeciesDescription",
    "PatientSpeciesCodeSequence",
    "PatientBreedDescription",
    "PatientBreedCodeSequence",
    "BreedRegistrationSequence",
    "ResponsiblePerson",
    "ResponsiblePersonRole",
    "ResponsibleOrganization",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    # General Study, C.7.2.1
    "StudyInstanceUID",
    "StudyDescription",
    "IssuerOfAccessionNumberSequence",
    # Patient Study, C.7.2.2
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "PatientSexNeutered",
)


def without_patient(header: Dataset) -> Dataset:
    """Returns the UIDs and the image attributes of a header, with empty attributes of patient and study.

    Args:
        header: header of the source; its pixel data are not copied.

    Raises:
        ValueError: a UID is missing, so that the source cannot be referenced.
    """
    missing = [keyword for keyword in REQUIRED_UIDS if not header.get(keyword)]
    if missing:
        raise ValueError(
            f"header expects {', '.join(missing)}, got none: DICOM outputs refer to their source by its UIDs. Store "
            "the source in an archive first, or write other outputs."
        )
    source = Dataset()
    for keyword in REQUIRED:
        setattr(source, keyword, "")
    copy_elements(header, source, (*REQUIRED_UIDS, "Rows", "Columns", "SamplesPerPixel"))
    return source


def copy_patient_and_study(header: Dataset, target: Dataset) -> None:
    """Copies the patient's and study's attributes.

    Names and identifiers relate a result to its patient in an archive, so they are copied even if their values are
    invalid. Other attributes are copied if they are valid. Those of type 2 are empty otherwise.
    """
    identifying = ("SpecificCharacterSet", "StudyInstanceUID", *(name for name in REQUIRED if name not in _DATES))
    optional = [keyword for keyword in PATIENT_AND_STUDY if keyword not in identifying]
    copy_elements(header, target, [*identifying, *(keyword for keyword in optional if is_valid(header, keyword))])
    for keyword in REQUIRED:
        if keyword not in target:
            setattr(target, keyword, "")


def copy_elements(header: Dataset, target: Dataset, keywords: Iterable[str]) -> None:
    """Replaces elements of `target` by those of `header`, without validation; those it lacks are deleted."""
    for keyword in keywords:
        if keyword in target:
            delattr(target, keyword)
        if keyword not in header:
            continue
        element = header[keyword]
        target.add(unvalidated(element.tag, element.VR, deepcopy(element.value)))


def is_valid(header: Dataset, keyword: str) -> bool:
    """Returns whether an element is present, and its value conforms to its value representation (PS3.5, 6.2)."""
    if keyword not in header:
        return False
    element = header[keyword]
    if element.VR == "SQ":
        return True
    values = element.value if element.VM > 1 else [element.value]
    try:
        for value in values:
            _parse(element.VR, str(value))
    except ValueError:
        return False
    return True


def _parse(representation: str, value: str) -> None:
    """Raises ValueError for a value that does not conform to its representation, or is no date or time."""
    validate_value(representation, value, config.RAISE)
    if representation in {"DA", "TM"}:
        (DA if representation == "DA" else TM)(value)


def unvalidated(tag: Any, representation: str, value: Any) -> DataElement:
    """Returns a data element with a value that is not validated."""
    return DataElement(tag, representation, value, already_converted=True, validation_mode=config.IGNORE)


def instance_number(header: Dataset) -> int:
    """Returns the source's Instance Number, or 1 if it has none that is positive."""
    try:
        return max(1, int(header.get("InstanceNumber") or 1))
    except (TypeError, ValueError):
        return 1
