import logging
from dataclasses import replace

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes

from mtmedformer_monai.deploy.headers.coded_names import PRIVATE_SCHEME
from mtmedformer_monai.deploy.headers.source_header import read_source_header
from mtmedformer_monai.deploy.headers.uids import derived_uid, model_sha256
from mtmedformer_monai.deploy.results import ClassResult, MaskResult
from mtmedformer_monai.deploy.sr.structured_report import image_report, study_report
from mtmedformer_monai.keys import NOTICE
from tests.deploy.sources import (
    BOXES,
    COLUMNS,
    DENSITY,
    EMPTY,
    FULL,
    LUNG,
    MODEL,
    ROWS,
    result_of,
    write_chest,
    write_mammogram,
)


def read_back(document, folder):
    """Writes and reads a document, and returns it with its groups by tracking identifier."""
    document.save_as(folder / "sr.dcm", enforce_file_format=True)
    read = hd.sr.srread(folder / "sr.dcm")
    groups = read.content.get_planar_roi_measurement_groups() + read.content.get_image_measurement_groups()
    return read, {group.tracking_identifier: group for group in groups}


def values(group):
    return {each.name.meaning: (each.value, each.unit.value) for each in group.get_measurements()}


@pytest.fixture
def chest(tmp_path):
    return write_chest(tmp_path / "source.dcm")


def test_boxes_lie_where_they_belong_in_pixels_of_the_source(tmp_path, chest):
    read, groups = read_back(image_report(result_of(chest, **FULL), chest, MODEL), tmp_path)
    for number, box in enumerate(BOXES, start=1):
        group = groups[f"opacity_box {number}"]
        corners = group.roi.value
        assert (*corners.min(axis=0), *corners.max(axis=0)) == box.box
        assert len(corners) == 5
        assert (corners[0] == corners[-1]).all()
        source = group.roi.ContentSequence[0].ReferencedSOPSequence[0]
        assert source.ReferencedSOPInstanceUID == chest.SOPInstanceUID
        assert group.finding_type == codes.DCM.Opacity
    assert read.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.34"
    assert [item[2] for item in read.get_evidence()] == [chest.SOPInstanceUID]


def test_a_box_has_probability_size_threshold_and_uncertainty(tmp_path, chest):
    _, groups = read_back(image_report(result_of(chest, **FULL), chest, MODEL), tmp_path)
    assert values(groups["opacity_box 1"]) == {
        "Probability": (0.75, "1"),
        "Width": (1.6, "mm"),
        "Height": (3.3, "mm"),
        "Operating threshold": (0.2, "1"),
        "Uncertainty (score std)": (0.125, "1"),
    }
    assert values(groups["opacity_box 2"]) == {"Probability": (0.25, "1")}


def test_a_classification_has_the_numbers_of_each_class_and_its_prediction(tmp_path, chest):
    _, groups = read_back(image_report(result_of(chest, **FULL), chest, MODEL), tmp_path)
    group = groups["finding"]
    assert {name: value for name, (value, _) in values(group).items()} == {
        "Probability of normal": 0.25,
        "Probability of pneumonia": 0.75,
        "Threshold of pneumonia": 0.5,
        "Uncertainty (entropy)": 0.5,
        "Uncertainty (std) of normal": 0.125,
        "Uncertainty (std) of pneumonia": 0.0625,
    }
    assert group.finding_type.meaning == "pneumonia"
    assert [(each.name.meaning, each.value.meaning) for each in group.get_qualitative_evaluations()] == [
        ("Calibrated probabilities", "Yes")
    ]
    assert group.roi.value.max(axis=0).tolist() == [COLUMNS, ROWS]


@pytest.mark.parametrize(("area", "expected"), [(2.4, (2.4, "mm2")), (None, (60, "{pixels}"))], ids=["mm", "pixels"])
def test_an_area_is_in_millimeters_only_where_the_spacing_is_known(tmp_path, chest, area, expected):
    masks = {"lung": (MaskResult("lung", 60, 0.1, area),)}
    _, groups = read_back(image_report(result_of(chest, segmentations=masks), chest, MODEL), tmp_path)
    assert values(groups["lung lung"]) == {"Area": expected}
    assert groups["lung lung"].finding_type == codes.SCT.Lung


def test_masks_refer_to_their_segment(tmp_path, chest):
    masks = {"lung": (LUNG,), "opacity": (MaskResult("opacity", 0, 0.0), MaskResult("unknown", 0, 0.0))}
    segmentation = make_segmentation(chest, ("lung", "lung lung"), ("opacity", "opacity opacity"))
    report = image_report(result_of(chest, segmentations=masks), chest, MODEL, segmentation)
    read, groups = read_back(report, tmp_path)
    for number, name in enumerate(("lung lung", "opacity opacity"), start=1):
        reference = groups[name].referenced_segmentation_frame[0]
        item = reference.ReferencedSOPSequence[0]
        assert item.ReferencedSOPInstanceUID == segmentation.SOPInstanceUID
        assert item.ReferencedFrameNumber == number
        assert "ReferencedSegmentNumber" not in item
    assert groups["opacity unknown"].roi is not None
    assert segmentation.SOPInstanceUID in [item[2] for item in read.get_evidence()]


def make_segmentation(source, *names):
    source = pydicom.dcmread(source.filename)
    algorithm = hd.AlgorithmIdentificationSequence("test", codes.DCM.ArtificialIntelligence, "1")
    return hd.seg.Segmentation(
        source_images=[source],
        pixel_array=np.zeros((1, ROWS, COLUMNS, len(names)), bool),
        segmentation_type="BINARY",
        segment_descriptions=[
            hd.seg.SegmentDescription(
                number, label, codes.SCT.Organ, codes.SCT.Lung, "AUTOMATIC", algorithm,
                tracking_id=tracking, tracking_uid=hd.UID(),
            )
            for number, (label, tracking) in enumerate(names, start=1)
        ],
        series_instance_uid=hd.UID(), series_number=1, sop_instance_uid=hd.UID(), instance_number=1,
        manufacturer="test", manufacturer_model_name="test", software_versions="1", device_serial_number="1",
        omit_empty_frames=False,
    )  # fmt: skip


def test_an_image_without_boxes_says_that_none_were_found(tmp_path, chest):
    _, groups = read_back(image_report(result_of(chest, **EMPTY), chest, MODEL), tmp_path)
    assert list(groups) == ["opacity_box"]
    assert values(groups["opacity_box"]) == {"Number of lesions": (0, "1")}
    assert groups["opacity_box"].get_qualitative_evaluations()[0].value == codes.SCT.Absent


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (ClassResult("multilabel", {"mass": 0.9, "nodule": 0.1}, ("mass",)), ["Present", "Absent", "No"]),
        (ClassResult("binary", {"a": 0.5, "b": 0.5}, (), applicable=False), ["Not applicable", "No"]),
        (DENSITY, ["Scattered fibroglandular densities", "No"]),
        (
            replace(DENSITY, thresholds={"B": 0.5, "D": 0.5}, flagged=("B",)),
            ["Scattered fibroglandular densities", "Scattered fibroglandular densities", "No"],
        ),
    ],
    ids=["multi-label", "not applicable", "ordinal", "ordinal with thresholds"],
)
def test_predictions_of_other_kinds_of_tasks(tmp_path, chest, result, expected):
    report = image_report(result_of(chest, classes={"breast_density": result}), chest, MODEL)
    _, groups = read_back(report, tmp_path)
    assert [each.value.meaning for each in groups["breast_density"].get_qualitative_evaluations()] == expected


def test_a_mammogram_states_the_breast(tmp_path):
    header = write_mammogram(tmp_path / "source.dcm", laterality="L")
    _, groups = read_back(image_report(result_of(header, **EMPTY), header, MODEL), tmp_path)
    site = groups["opacity_box"].finding_sites[0]
    assert (site.value, site.laterality) == (codes.SCT.Breast, codes.SCT.Left)


def test_the_model_is_identified_in_every_measurement_and_the_observer_is_a_device(tmp_path, chest):
    read, groups = read_back(image_report(result_of(chest, **FULL), chest, MODEL), tmp_path)
    stated = [MODEL.bundle_name, MODEL.bundle_version, f"bundle SHA-256: {'ab' * 32}", f"weights SHA-256: {'cd' * 32}"]
    for group in groups.values():
        for each in group.get_measurements():
            assert [item.TextValue for item in each[0].ContentSequence if item.ValueType == "TEXT"] == [*stated, NOTICE]
    context = read.content.get_observer_contexts()[0]
    assert context.observer_type == codes.DCM.Device
    assert NOTICE in context.observer_identifying_attributes.name
    assert (read.CompletionFlag, read.VerificationFlag, read.PreliminaryFlag) == (
        "COMPLETE", "UNVERIFIED", "PRELIMINARY",
    )  # fmt: skip
    assert "research use only" in read.SeriesDescription


def test_a_repeated_run_yields_the_same_identifiers(chest):
    first, second = (image_report(result_of(chest, **FULL), chest, MODEL) for _ in range(2))
    uids = [[str(item.value) for item in each.iterall() if item.VR == "UI"] for each in (first, second)]
    assert uids[0] == uids[1]
    assert first.SOPInstanceUID == derived_uid(chest.SOPInstanceUID, "SR", model_sha256(MODEL))


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 100", "Müller^Jörg"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("ISO_IR 192", "Wang^XiaoDong=王^小东"),
    ],
    ids=["Latin", "Japanese", "Chinese"],
)
def test_names_in_any_script_are_kept(tmp_path, charset, name):
    header = write_chest(tmp_path / "source.dcm", SpecificCharacterSet=charset, PatientName=name)
    read, _ = read_back(image_report(result_of(header, **FULL), header, MODEL), tmp_path)
    assert (str(read.PatientName), read.SpecificCharacterSet) == (name, charset)


def test_invalid_attributes_of_a_patient_are_no_obstacle_and_are_not_logged(tmp_path, caplog, recwarn):
    with pytest.warns(UserWarning, match="Invalid value for VR"):
        write_chest(
            tmp_path / "source.dcm",
            PatientName="DOE JANE", PatientSex="FEMALE", PatientBirthDate="00000000", PatientAge="81", StudyTime="noon",
        )  # fmt: skip
    recwarn.clear()
    with caplog.at_level(logging.DEBUG):
        header = read_source_header(tmp_path / "source.dcm")
        report = image_report(result_of(header, **EMPTY), header, MODEL)
    assert report.PatientName == "DOE JANE"
    assert (report.PatientSex, report.PatientBirthDate, report.StudyTime) == ("", "", "")
    assert "PatientAge" not in report
    assert "DOE" not in caplog.text + " ".join(str(each.message) for each in recwarn)


def test_names_of_classes_in_other_scripts_keep_the_characters_of_the_source(tmp_path, chest):
    result = ClassResult("multiclass", {"肺炎": 0.5, "結核": 0.5}, ("肺炎",))
    read, groups = read_back(image_report(result_of(chest, classes={"診断": result}), chest, MODEL), tmp_path)
    names = [each.name.value for each in groups["??"].get_measurements()]
    assert len(set(names)) == 2
    assert "SpecificCharacterSet" not in read


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "SOPClassUID"])
def test_a_source_that_cannot_be_referenced_is_rejected(chest, keyword):
    del chest[keyword]
    with pytest.raises(ValueError, match=f"header expects {keyword}, got none"):
        image_report(result_of(chest, **EMPTY), chest, MODEL)


def test_a_result_without_content_is_rejected(chest):
    with pytest.raises(ValueError, match="there is nothing to report"):
        image_report(result_of(chest), chest, MODEL)


def test_a_study_report_refers_to_all_images_and_each_breast_to_its_own(tmp_path):
    headers = {
        view: write_mammogram(tmp_path / f"{view}.dcm", laterality=view[0], view=view[2:])
        for view in ("R_CC", "R_MLO", "L_CC")
    }
    report = study_report({"density": {"study": DENSITY, "R": DENSITY}}, headers, MODEL)
    read, groups = read_back(report, tmp_path)
    uids = {header.SOPInstanceUID for header in headers.values()}
    found = {name: {each.referenced_sop_instance_uid for each in group.source_images} for name, group in groups.items()}
    assert found == {"density": uids, "density R": uids - {headers["L_CC"].SOPInstanceUID}}
    assert groups["density R"].finding_sites[0].laterality == codes.SCT.Right
    assert {item[2] for item in read.get_evidence()} == uids
    fewer = study_report({"density": {"study": DENSITY}}, {"R_CC": headers["R_CC"]}, MODEL)
    assert fewer.SOPInstanceUID != report.SOPInstanceUID
    assert fewer.SeriesInstanceUID == report.SeriesInstanceUID


def test_a_study_report_needs_images_and_results(tmp_path):
    with pytest.raises(ValueError, match="headers expects the images of a study, got none"):
        study_report({"density": {"study": DENSITY}}, {}, MODEL)
    with pytest.raises(ValueError, match="there is nothing to report"):
        study_report({}, {"R_CC": write_mammogram(tmp_path / "a.dcm")}, MODEL)


def test_private_codes_are_declared(chest):
    report = image_report(result_of(chest, **FULL), chest, MODEL)
    assert [item.CodingSchemeDesignator for item in report.CodingSchemeIdentificationSequence] == [PRIVATE_SCHEME]
