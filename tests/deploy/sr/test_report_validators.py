"""The validators of dicom3tools and PixelMed find no error in written reports."""

from dataclasses import replace

import pytest

from mtmedformer_monai.deploy.results import BoxResult, StudyResult
from mtmedformer_monai.deploy.sr.mammography_cad_report import mammography_cad_report
from mtmedformer_monai.deploy.sr.structured_report import image_report, study_report
from tests.data.synthetic.dicom.validator import validate
from tests.deploy import pixelmed
from tests.deploy.pixelmed import validate_report
from tests.deploy.sources import (
    BOXES,
    DENSITY,
    EMPTY,
    FULL,
    LUNG,
    MODEL,
    PNEUMONIA,
    result_of,
    write_chest,
    write_mammogram,
)
from tests.deploy.sr.test_structured_report import make_segmentation

NO_SPACING = {
    "segmentations": {"lung": (replace(LUNG, area_mm2=None),)},
    "boxes": {"opacity_box": (replace(BOXES[0], size_mm=None),)},
    "classes": {"finding": PNEUMONIA},
}
FINDINGS = tuple(BoxResult((1.0, 2.0, 3.0, 4.0), name, 0.5) for name in ("mass", "calcification", "lesion"))
JAPANESE = {"SpecificCharacterSet": ["", "ISO 2022 IR 87"], "PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう"}


def chest(path):
    header = write_chest(path)
    segmentation = make_segmentation(header, ("lung", "lung lung"))
    return image_report(result_of(header, **FULL), header, MODEL, segmentation)


def chest_without_boxes(path):
    header = write_chest(path, "CR", ImagerPixelSpacing=None, ViewPosition="AP")
    return image_report(result_of(header, **EMPTY), header, MODEL)


def mammogram_without_spacing(path):
    header = write_mammogram(path, ImagerPixelSpacing=None, **JAPANESE)
    return image_report(result_of(header, **NO_SPACING), header, MODEL)


def study_of_mammograms(path):
    headers = {f"R_{view}": write_mammogram(path, view=view) for view in ("CC", "MLO")}
    return study_report({"density": {"study": DENSITY, "R": DENSITY}}, headers, MODEL)


def cad(path):
    headers = [write_mammogram(path, view=view, **JAPANESE) for view in ("CC", "MLO")]
    found = result_of(headers[0], boxes={"box": FINDINGS}, classes={"breast_density": DENSITY}, spacing_mm=(0.1, 0.1))
    images = (found, result_of(headers[1], boxes={"box": ()}))
    return mammography_cad_report(StudyResult("1.2", "study", images), headers, MODEL)


def cad_without_findings(path):
    header = write_mammogram(path, ImagerPixelSpacing=None, PatientOrientation="")
    images = (replace(result_of(header, boxes={"box": ()}), laterality=None, view=None),)
    return mammography_cad_report(StudyResult("1.2", "study", images, num_refused=1), [header], MODEL)


MEASUREMENTS = ("Comprehensive3DSR", "TID_1500 (MeasurementReport)")
CAD = ("MammographyCADSR", "TID_4000 (MammographyCADDocumentRoot)")


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (chest, MEASUREMENTS),
        pytest.param(chest_without_boxes, MEASUREMENTS, marks=pytest.mark.slow),
        pytest.param(mammogram_without_spacing, MEASUREMENTS, marks=pytest.mark.slow),
        pytest.param(study_of_mammograms, MEASUREMENTS, marks=pytest.mark.slow),
        (cad, CAD),
        pytest.param(cad_without_findings, CAD, marks=pytest.mark.slow),
    ],
)
def test_validators_find_no_error(tmp_path, make, expected):
    path = tmp_path / "report.dcm"
    make(tmp_path / "source.dcm").save_as(path, enforce_file_format=True)
    iod, template = expected
    assert validate(path) == (iod, [])
    assert validate_report(path) == ([f"Found {iod} IOD", f"Found Root Template {template}"], [])


def test_pixelmed_finds_an_error_if_there_is_one(tmp_path):
    report = cad_without_findings(tmp_path / "source.dcm")
    del report.ContentSequence[-1]
    report.save_as(tmp_path / "report.dcm", enforce_file_format=True)
    problems = validate_report(tmp_path / "report.dcm")[1]
    assert any("Summary of Analyses" in problem for problem in problems)


@pytest.mark.parametrize(("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_a_missing_validator_fails_in_ci_and_is_a_reason_to_skip_elsewhere(tmp_path, monkeypatch, ci, outcome):
    monkeypatch.setattr(pixelmed, "JARS", tmp_path)
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="apt-get install libpixelmed-java default-jre-headless"):
        validate_report(tmp_path / "report.dcm")
