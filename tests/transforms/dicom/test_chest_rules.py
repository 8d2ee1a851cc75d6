"""`ChestRules` admits frontal chest radiographs, flags uncertain images, and refuses other images."""

import pickle

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset

from mtmedformer_monai.transforms import ChestRules, LoadRadiographd, MammogramRules, RefusedImageError, read_radiograph

RULES = ChestRules()


def coded(value):
    item = Dataset()
    item.CodeValue = value
    return [item]


def flags(path, rules=RULES, **reading):
    return read_radiograph(path, rules=rules, **reading)[1]["flags"]


@pytest.mark.parametrize("view", ["PA", "AP", "RLD"])
@pytest.mark.parametrize("modality", ["CR", "DX"])
def test_a_frontal_chest_radiograph_is_read_without_a_flag(make_dicom, modality, view):
    assert flags(make_dicom(modality=modality, BodyPartExamined="CHEST", ViewPosition=view)) == ""


@pytest.mark.parametrize(
    ("elements", "kind"),
    [
        ({"BodyPartExamined": "HIP", "ViewPosition": "AP"}, "other_anatomy"),
        ({"BodyPartExamined": "BREAST"}, "other_anatomy"),
        ({"AnatomicRegionSequence": coded("66019005")}, "other_anatomy"),
        ({"BodyPartExamined": "CHEST", "ViewPosition": "LL"}, "lateral"),
        ({"BodyPartExamined": "CHEST", "ViewPosition": "LATERAL"}, "lateral"),
        ({"BodyPartExamined": "CHEST", "ViewCodeSequence": coded("399198007")}, "lateral"),
        ({"BodyPartExamined": "CHEST", "PatientOrientation": ["A", "F"]}, "lateral"),
        ({"BodyPartExamined": "CHEST", "AcquisitionDeviceProcessingDescription": "CHEST LAT"}, "lateral"),
        ({"BodyPartExamined": "CHEST", "ViewPosition": "RAO"}, "oblique"),
        ({"BodyPartExamined": "CHEST", "ViewCodeSequence": coded("399182000")}, "oblique"),
        ({"BodyPartExamined": "THORAX", "AcquisitionDeviceProcessingDescription": "CANINE THORAX"}, "animals"),
    ],
)
def test_images_that_are_not_chest_radiographs_are_refused_by_their_rule(make_dicom, elements, kind):
    path = make_dicom(**elements)
    with pytest.raises(
        RefusedImageError,
        match=f"the rule is {kind}='refuse'; .*--admission#{kind} pass; .*{{.admission#{kind}.: .pass.}}",
    ):
        read_radiograph(path, rules=RULES)
    admitted = ChestRules(**{kind: "flag"})
    assert ChestRules.descriptions[kind] in flags(path, admitted).split("; ")
    assert ChestRules.descriptions[kind] not in flags(path, ChestRules(**{kind: "pass"}))


@pytest.mark.parametrize(
    ("elements", "kinds"),
    [
        ({}, ["unknown_anatomy", "unknown_view"]),
        ({"ViewPosition": "PA"}, ["unknown_anatomy"]),
        ({"BodyPartExamined": "CHEST"}, ["unknown_view"]),
        ({"BodyPartExamined": "CHEST", "PatientOrientation": ["L", "F"]}, []),
        ({"BodyPartExamined": "CHEST", "ViewCodeSequence": coded("272479007")}, []),
        ({"BodyPartExamined": "CHEST", "ViewPosition": "AP", "PatientOrientation": ["A", "F"]}, []),
    ],
)
def test_uncertain_images_are_flagged_or_refused_by_option(make_dicom, elements, kinds):
    path = make_dicom(**elements)
    assert [flag for flag in flags(path).split("; ") if flag] == [ChestRules.descriptions[kind] for kind in kinds]
    for kind in kinds:
        with pytest.raises(RefusedImageError, match=kind):
            read_radiograph(path, rules=ChestRules(**{kind: "refuse"}))


def test_the_flag_of_a_header_that_names_two_body_parts_does_not_say_that_it_names_none(make_dicom):
    elements = {"BodyPartExamined": "HIP", "AnatomicRegionSequence": coded("816094009"), "ViewPosition": "PA"}
    assert flags(make_dicom(**elements)).endswith("(its header states no body part, or contradictory ones)")


@pytest.mark.parametrize(
    ("orientation", "is_turned"),
    [
        pytest.param(["L", "F"], False, id="upright"),
        pytest.param(["LA", "FP"], False, id="nearly upright"),
        pytest.param(["A", "F"], False, id="lateral"),
        pytest.param(["R", "F"], True, id="mirrored"),
        pytest.param(["L", "H"], True, id="upside down and mirrored"),
        pytest.param(["R", "H"], True, id="rotated by 180 degrees"),
        pytest.param(["F", "R"], True, id="rotated by 90 degrees"),
        pytest.param(["x", "F"], False, id="invalid"),
        pytest.param(None, False, id="not stated"),
    ],
)
def test_turned_images_are_flagged(make_dicom, orientation, is_turned):
    path = make_dicom(BodyPartExamined="CHEST", ViewPosition="PA", PatientOrientation=orientation)
    assert flags(path) == ("stored rotated or mirrored (by its Patient Orientation)" if is_turned else "")


@pytest.mark.parametrize(
    "elements",
    [{"PresentationIntentType": "FOR PROCESSING"}, {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1.1"}],
    ids=["intent", "SOP class"],
)
def test_images_for_processing_are_flagged(make_dicom, elements):
    path = make_dicom(BodyPartExamined="CHEST", ViewPosition="PA", **elements)
    assert flags(path).startswith("FOR PROCESSING")
    assert flags(path, ChestRules(for_processing="pass")) == ""
    with pytest.raises(RefusedImageError, match="the rule is for_processing='refuse'"):
        read_radiograph(path, rules=ChestRules(for_processing="refuse"))


@pytest.mark.parametrize("rules", [ChestRules(), MammogramRules(no_header="flag")], ids=["chest", "mammograms"])
def test_a_picture_is_read_and_flagged_as_not_verified(tmp_path, rules):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a.png")
    assert "no DICOM header" in flags(tmp_path / "a.png", rules)
    assert flags(tmp_path / "a.png", None) == ""


def test_mammogram_rules_can_refuse_other_images(make_dicom):
    rules = MammogramRules(other_anatomy="refuse", unknown_anatomy="flag")
    with pytest.raises(RefusedImageError, match="of another body part than the breast"):
        read_radiograph(make_dicom(modality="RG", BodyPartExamined="CHEST"), rules=rules)
    assert flags(make_dicom(modality="RG", BodyPartExamined="BREAST"), rules) == ""
    assert "not verified as a mammogram" in flags(make_dicom(modality="RG"), rules)
    assert flags(make_dicom(modality="MG"), rules) == ""


def test_flags_are_metadata_and_rules_can_be_pickled(make_dicom):
    rules = pickle.loads(pickle.dumps(ChestRules(lateral="flag")))
    load = LoadRadiographd("image", rules=rules)
    image = load({"image": make_dicom(BodyPartExamined="CHEST", ViewPosition="LL")})["image"]
    assert image.meta["flags"] == "a lateral view"


def test_an_invalid_rule_raises_an_error_on_construction():
    with pytest.raises(ValueError, match="rule 'lateral' expects 'pass', 'flag' or 'refuse', got 'no'"):
        ChestRules(lateral="no")
