import pydicom
import pytest
from pydicom.dataset import Dataset

from mtmedformer_monai.transforms.header import ALLOWED_TAGS, read_laterality, read_modality, read_view


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


def test_missing_modality():
    assert read_modality(Dataset()) == ""


def test_no_element_that_names_a_person_is_read():
    personal = {"PatientName", "PatientID", "PatientBirthDate", "AccessionNumber", "InstitutionName", "StudyID"}
    tags = {pydicom.tag.Tag(tag) for tag in ALLOWED_TAGS}
    assert not tags & {pydicom.tag.Tag(keyword) for keyword in personal}
    # What is left of group 0010, the patient's, is nothing: PatientOrientation is of group 0020.
    assert all(tag.group != 0x0010 for tag in tags)
