"""Headers of sources: what results need is there, and what would make them invalid is not."""

import pytest

from mtmedformer_monai.deploy.headers.source_header import REQUIRED, read_source_header


def test_required_elements_are_empty_where_the_source_has_none(make_dicom):
    header = read_source_header(make_dicom(PatientName=None, PatientID=None))
    assert [str(header[keyword].value or "") for keyword in REQUIRED] == [""] * len(REQUIRED)
    assert header["PatientOrientation"].is_empty


def test_patient_and_study_are_those_of_the_source(make_dicom):
    header = read_source_header(
        make_dicom(
            PatientName="Müller^Jörg", SpecificCharacterSet="ISO_IR 100", StudyDate="20200131", PatientAge="041Y"
        )
    )
    assert str(header.PatientName) == "Müller^Jörg"
    assert (header.PatientID, header.StudyDate, header.PatientAge) == ("MRN-4711", "20200131", "041Y")


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientBirthDate", "00000000"),
        ("StudyDate", "20201399"),
        ("StudyTime", "99:00"),
        ("PatientSex", "female"),
        ("PatientOrientation", "CC"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_an_invalid_value_becomes_empty(make_dicom, monkeypatch, keyword, value):
    monkeypatch.setattr("pydicom.config.settings._writing_validation_mode", 0)
    assert read_source_header(make_dicom(**{keyword: value}))[keyword].is_empty


@pytest.mark.parametrize("spacing", [[0, 0], [0.1], ["0.1", "-0.1"]], ids=str)
def test_an_impossible_spacing_is_left_out(make_dicom, spacing):
    assert "PixelSpacing" not in read_source_header(make_dicom(PixelSpacing=spacing))


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"ImageLaterality": "R", "Laterality": "L"}, "R"),
        ({"Laterality": "L"}, "L"),
        ({"ImageLaterality": "U"}, None),
        ({}, None),
    ],
    ids=str,
)
def test_the_laterality_is_that_of_the_image(make_dicom, elements, expected):
    header = read_source_header(make_dicom(modality="MG", **elements))
    assert header.get("ImageLaterality") == expected
    assert "Laterality" not in header


def test_private_and_unlisted_elements_are_not_read(make_dicom):
    header = read_source_header(make_dicom(PatientComments="secret", InstitutionName="Hospital"))
    assert "PatientComments" not in header
    assert "InstitutionName" not in header
    assert "PixelData" not in header
