"""Which images are processed, and the rule by which each other one is refused."""

from __future__ import annotations

import json

import pytest

from mtmedformer_monai.deploy.serve.archive import Found
from mtmedformer_monai.deploy.serve.case import Source
from mtmedformer_monai.deploy.serve.config import RulesConfig
from mtmedformer_monai.deploy.serve.rules import load_rules
from tests.deploy.serve.chest_images import NAME, PATIENT, write_chest
from tests.deploy.serve.conftest import CHEST

BREAST = CHEST.parent / "mammography_multitask"
MG = {"modality": "MG", "BodyPartExamined": "BREAST", "ViewPosition": "MLO"}


@pytest.mark.parametrize(
    ("elements", "rule"),
    [
        ({}, None),
        ({"modality": "CR"}, None),
        ({"PresentationIntentType": None}, None),
        ({"modality": "MG"}, "modality"),
        ({"modality": "CT"}, "sop_class"),
        ({"frames": 2}, "frames"),
        ({"PresentationIntentType": "FOR PROCESSING"}, "intent"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1.1", "PresentationIntentType": None}, "intent"),
        ({"BodyPartExamined": "HIP"}, "other_anatomy"),
        ({"ViewPosition": "LL"}, "lateral"),
        ({"ViewPosition": "RAO"}, "oblique"),
        ({"Rows": 60000, "Columns": 60000}, "size"),
    ],
    ids=lambda value: str(value),
)
def test_chest_radiographs(tmp_path, elements, rule):
    path = write_chest(tmp_path, 1, **elements)
    refusal = load_rules(CHEST, RulesConfig()).refuse(path)
    assert (refusal and refusal.rule) == rule
    if refusal:
        assert NAME not in refusal.reason
        assert PATIENT not in refusal.reason


@pytest.mark.parametrize(
    ("elements", "changes", "rule"),
    [
        (MG, {}, None),
        ({**MG, "BreastImplantPresent": "YES"}, {}, None),
        ({**MG, "BreastImplantPresent": "YES"}, {"implants": "refuse"}, "implants"),
        ({}, {}, "modality"),
    ],
    ids=["standard", "implant", "implant refused", "chest"],
)
def test_mammograms(tmp_path, elements, changes, rule):
    refusal = load_rules(BREAST, RulesConfig(admission=changes)).refuse(write_chest(tmp_path, 1, **elements))
    assert (refusal and refusal.rule) == rule


@pytest.mark.parametrize(
    ("elements", "rule"),
    [
        ({"modality": "MRS DOE", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1"}, "modality"),
        ({"SOPClassUID": "1.2.840.4711"}, "sop_class"),
        ({"PresentationIntentType": "FOR MRS DOE"}, "intent"),
        ({"BodyPartExamined": "HIP MRS DOE"}, "other_anatomy"),
        ({"ViewPosition": "LL MRS DOE"}, "lateral"),
    ],
    ids=lambda value: str(value),
)
def test_a_reason_shows_no_text_that_is_not_a_defined_term(tmp_path, elements, rule):
    rules = load_rules(CHEST, RulesConfig(sop_classes=("1.2.840.10008.5.1.4.1.1.1.1",)))
    refusal = rules.refuse(write_chest(tmp_path, 1, **elements))
    if refusal is not None:  # free text beside a term may hide it from the rule, and then the image is processed
        assert (refusal.rule, "DOE" in refusal.reason, "4711" in refusal.reason) == (rule, False, False)
    early = rules.refuse_early(
        Found(Source("1.2", "1.3", "1.4"), elements.get("SOPClassUID", ""), elements.get("modality", ""), 1)
    )
    assert early is None or not {"DOE", "4711"} & set(early.reason.replace(".", " ").split())


def test_a_damaged_file_is_refused(tmp_path):
    (tmp_path / "a.dcm").write_bytes(b"no DICOM")
    assert load_rules(CHEST, RulesConfig()).refuse(tmp_path / "a.dcm").rule == "unreadable"


@pytest.mark.parametrize(
    ("sop_class", "modality", "frames", "rule"),
    [
        ("1.2.840.10008.5.1.4.1.1.1.1", "DX", 1, None),
        ("", "", 1, None),  # an archive that tells nothing: decided by the file
        ("1.2.840.10008.5.1.4.1.1.2", "CT", 1, "sop_class"),
        ("1.2.840.10008.5.1.4.1.1.1.1", "MG", 1, "modality"),
        ("1.2.840.10008.5.1.4.1.1.1.1", "DX", 9, "frames"),
    ],
)
def test_images_are_refused_without_being_fetched(sop_class, modality, frames, rule):
    found = Found(Source("1.2", "1.3", "1.4"), sop_class, modality, frames)
    refusal = load_rules(CHEST, RulesConfig()).refuse_early(found)
    assert (refusal and refusal.rule) == rule


def test_unknown_rules_are_named():
    with pytest.raises(ValueError, match=r"rules\.admission expects some of .*lateral.*; got laterals"):
        load_rules(CHEST, RulesConfig(admission={"laterals": "pass"}))


def test_a_bundle_cannot_bring_code_of_its_own(tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "inference.json").write_text(json.dumps({"admission": {"_target_": "os.system"}}))
    with pytest.raises(ValueError, match=r"expects one of ChestRules, MammogramRules, got os\.system"):
        load_rules(tmp_path, RulesConfig())
