import pydicom
import pytest
from pydicom.dataset import Dataset

from mtmedformer_monai.transforms.dicom.header import (
    ALLOWED_TAGS,
    is_for_processing,
    read_laterality,
    read_modality,
    read_view,
)


def coded(value):
    item = Dataset()
    item.CodeValue = value
    return item


@pytest.mark.parametrize(
    ("elements", "laterality"),
    [
        ({}, ""),
        ({"ImageLaterality": "R", "Laterality": "L"}, "R"),
        ({"ImageLaterality": "", "Laterality": "L"}, "L"),
        ({"ImageLaterality": "B"}, "B"),
        ({"ImageLaterality": "U"}, ""),
    ],
)
def test_laterality(elements, laterality):
    header = Dataset()
    for keyword, value in elements.items():
        setattr(header, keyword, value)
    assert read_laterality(header) == laterality


def test_view_by_position_before_code():
    header = Dataset()
    header.ViewCodeSequence = [coded("399162004")]
    assert read_view(header) == "CC"
    header.ViewPosition = "MLO"
    assert read_view(header) == "MLO"
    header.ViewPosition, header.ViewCodeSequence = "", [coded("1")]
    assert read_view(header) == ""


@pytest.mark.parametrize(
    ("position", "code", "orientation", "view"),
    [
        ("LMLO", "R-10242", None, "MLO"),
        ("FRONTAL", "R-10242", None, "CC"),
        ("FRONTAL", "1", None, "FRONTAL"),
        (None, "R-10226", None, "MLO"),
        (None, "127457009", None, "SPECIMEN"),
        (None, None, "MLO", "MLO"),  # CBIS-DDSM
        (None, None, ["A", "R"], ""),
        (None, None, "A", ""),
    ],
)
def test_view_of_odd_headers(position, code, orientation, view):
    header = Dataset()
    if position:
        header.ViewPosition = position
    if code:
        header.ViewCodeSequence = [coded(code)]
    if orientation:
        header.PatientOrientation = orientation
    assert read_view(header) == view


@pytest.mark.parametrize(
    ("intent", "storage", "expected"),
    [
        ("FOR PROCESSING", None, True),
        ("FOR PRESENTATION", "1.2.840.10008.5.1.4.1.1.1.2.1", False),
        (None, "1.2.840.10008.5.1.4.1.1.1.2.1", True),
        (None, "1.2.840.10008.5.1.4.1.1.1.2", False),
        (None, None, False),
    ],
)
def test_presentation_intent(intent, storage, expected):
    header = Dataset()
    header.PresentationIntentType, header.SOPClassUID = intent, storage
    assert is_for_processing(header) is expected


def test_missing_modality():
    assert read_modality(Dataset()) == ""


def test_no_element_that_identifies_a_person_is_read():
    personal = {"PatientName", "PatientID", "PatientBirthDate", "AccessionNumber", "InstitutionName", "StudyID"}
    tags = {pydicom.tag.Tag(tag) for tag in ALLOWED_TAGS}
    assert not tags & {pydicom.tag.Tag(keyword) for keyword in personal}
    # No element of the patient group 0010 is read; PatientOrientation belongs to group 0020.
    assert all(tag.group != 0x0010 for tag in tags)
