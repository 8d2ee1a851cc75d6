"""Inference of a shipped bundle for the worker, with a real archive."""

from __future__ import annotations

from io import BytesIO
from types import SimpleNamespace

import pydicom
import pytest

from mtmedformer_monai.deploy.results import Refusal
from mtmedformer_monai.deploy.serve.bundle_model import load_model, run_case
from mtmedformer_monai.deploy.serve.config import ArchiveConfig, ReceiverConfig, RulesConfig, ServeConfig
from mtmedformer_monai.deploy.serve.errors import ImageRefusedError, WrongResultError
from mtmedformer_monai.deploy.study_runner import StudyOutcome
from tests.deploy.serve.chest_images import uid, write_chest
from tests.deploy.serve.conftest import CHEST, config_for, settle, turn_until, worker

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"


def sources_of(segmentation):
    (series,) = segmentation.ReferencedSeriesSequence
    (image,) = series.ReferencedInstanceSequence
    return image.ReferencedSOPInstanceUID


def test_segmentations_are_stored_and_are_the_same_after_the_loss_of_the_disk(orthanc, tmp_path):
    orthanc.send(write_chest(tmp_path / "images", 1, rows=64))
    orthanc.send(write_chest(tmp_path / "images", 2, rows=64, ViewPosition="LL"))
    config = config_for(orthanc, tmp_path / "first")
    model = load_model(config)
    with worker(config, model.infer, model.sha256) as service:
        settle(service, 2)
        assert service.state.counts()["stored"] == 1
    stored = orthanc.stored(SEGMENTATION)
    assert stored
    assert {sources_of(pydicom.dcmread(BytesIO(orthanc.file(each)))) for each in stored} == {uid(1)}
    config = config_for(orthanc, tmp_path / "second")
    again = load_model(config)
    assert again.sha256 == model.sha256
    with worker(config, again.infer, again.sha256) as service:
        turn_until(service, lambda: service.state.counts()["stored"] == 1)
    assert sorted(orthanc.stored(SEGMENTATION)) == sorted(stored)


def config_of(folder, **changes):
    nowhere = ArchiveConfig(url="http://127.0.0.1:9/dicom-web", feed="none")
    return ServeConfig(bundle=CHEST, folder=folder, archive=nowhere, receiver=ReceiverConfig(enabled=True), **changes)


def test_changed_rules_apply_to_the_reader_as_well(tmp_path):
    rules = RulesConfig(admission={"lateral": "pass"}, modalities=("XA",))
    model = load_model(config_of(tmp_path, rules=rules))
    for number, changes in enumerate(({"ViewPosition": "LL", "modality": "XA"}, {"modality": "DX"}), 1):
        write_chest(tmp_path / f"spool/{number}/source", number, rows=64, **changes)
    assert model.infer(tmp_path / "spool/1")
    with pytest.raises(ImageRefusedError, match="DX"):
        model.infer(tmp_path / "spool/2")
    plain = load_model(config_of(tmp_path))
    assert plain.sha256 != model.sha256
    assert not (tmp_path / "rules.json").exists()
    write_chest(tmp_path / "spool/3/source", 3, rows=64, ViewPosition="LL")
    with pytest.raises(ImageRefusedError) as refusal:
        plain.infer(tmp_path / "spool/3")
    assert refusal.value.rule == "lateral"


@pytest.mark.parametrize("rule", ["FileNotFoundError", "PermissionError", "OSError", "unexpected"])
def test_an_error_that_may_be_the_bundles_does_not_refuse_the_image(tmp_path, rule):
    """As of a guard that has not been copied yet; the case is tried again."""
    outcome = StudyOutcome(None, (Refusal("1.dcm", "it cannot be read", rule),), None)
    write_chest(tmp_path / "source", 1)
    with pytest.raises(WrongResultError, match=f"{rule}: it cannot be read"):
        run_case(SimpleNamespace(process=lambda study: outcome), tmp_path)


def test_an_unknown_rule_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"rules.admission expects some of .*; got sideways"):
        load_model(config_of(tmp_path, rules=RulesConfig(admission={"sideways": "pass"})))


def test_an_image_without_pixels_is_refused_by_its_reader(tmp_path):
    config = config_of(tmp_path)
    folder = tmp_path / "spool" / "case"
    path = write_chest(folder / "source", 1, PixelData=None)
    with pytest.raises(ImageRefusedError, match="pixel") as refusal:
        load_model(config).infer(folder)
    assert refusal.value.rule == "NoPixelsError"
    assert path.exists()
