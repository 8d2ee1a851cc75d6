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

from .source_header import OPTIONAL, REQUIRED

REQUIRED_UIDS = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
PATIENT_AND_STUDY = ("SpecificCharacterSet", "StudyInstanceUID", *REQUIRED, *OPTIONAL)


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
    """Copies the patient's and study's attributes; those of type 2 are empty if the header has none.

    Args:
        header: header from `read_source_header`, in which all attributes but names and identifiers are valid.
        target: dataset that receives the attributes.
    """
    copy_elements(header, target, PATIENT_AND_STUDY)
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
        target.add(_unvalidated(element.tag, element.VR, deepcopy(element.value)))


def _unvalidated(tag: Any, representation: str, value: Any) -> DataElement:
    """Returns a data element with a value that is not validated."""
    return DataElement(tag, representation, value, already_converted=True, validation_mode=config.IGNORE)


def instance_number(header: Dataset) -> int:
    """Returns the source's Instance Number, or 1 if it has none that is positive."""
    try:
        return max(1, int(header.get("InstanceNumber") or 1))
    except (TypeError, ValueError):
        return 1
