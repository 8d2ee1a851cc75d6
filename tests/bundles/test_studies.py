"""The mammography bundle fuses the views of a study, starting from the weights of its image network."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from tests.bundles.conftest import ROOT

FUSED = ("breast_pathology", "study_pathology", "study_density")


@pytest.fixture
def bundle():
    return ROOT / "bundles/mammography_multitask"


def test_trains_and_evaluates_studies(bundle, run_bundle, cohort, monkeypatch):
    monkeypatch.chdir(ROOT)
    small = {"image_size": [64, 48], "batch_size": 2, "warmup_epochs": 0}
    weights = bundle / "models/model.pt"
    output = run_bundle("training", ["train", "study_train"], bundle, image_weights=str(weights), **small)
    run_bundle("evaluating", ["train", "study_train", "evaluate"], bundle, **small)
    metrics = json.loads((output / "evaluation/metrics.json").read_text())
    for name in FUSED:
        assert metrics[f"{name}_cases"] > 0
    assert metrics["lesion_cases"] > 0
    history = json.loads((output / "history.json").read_text())
    assert all(np.isfinite(history[0]["train"][f"loss_{name}"]) for name in FUSED)
    assert np.asarray(Image.open(output / "evaluation/examples.png").convert("L")).std() > 5
    trained = torch.load(output / "models/model.pt", weights_only=True)
    assert any(name.startswith("fusions.breast_pathology.") for name in trained)


def test_missing_weights_of_the_image_network_are_named(bundle, run_bundle, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(RuntimeError) as error:
        run_bundle("training", ["train", "study_train"], bundle, image_weights="nowhere/model.pt")
    assert "nowhere/model.pt" in str(error.value) or "nowhere/model.pt" in str(error.value.__cause__)


@pytest.mark.parametrize("calibration", ["required", "auto"])
def test_a_calibration_of_studies_is_refused(bundle, run_bundle, monkeypatch, calibration):
    monkeypatch.chdir(ROOT)
    with pytest.raises(RuntimeError) as error:
        run_bundle("evaluating", ["inference", "study_inference"], bundle, calibration=calibration)
    assert "calibration expects 'off' for studies" in str(error.value.__cause__)


def test_infers_on_a_folder_of_dicom_files_by_study(bundle, run_bundle, cohort, monkeypatch, tmp_path):
    import shutil

    monkeypatch.chdir(ROOT)
    small = {"image_size": [64, 48], "batch_size": 2, "warmup_epochs": 0}
    output = run_bundle(
        "training", ["train", "study_train"], bundle, image_weights=str(bundle / "models/model.pt"), **small
    )
    items = json.loads((cohort / "datalist.json").read_text())["test"]
    chosen = [item for item in items if item["study_id"] == items[0]["study_id"]][:3]  # a view is missing
    (tmp_path / "files").mkdir()
    for index, item in enumerate(chosen):
        shutil.copy(cohort / item["image"], tmp_path / f"files/{index}.dcm")
    weights = str(output / "models/model.pt")
    small = {"image_size": [64, 48], "batch_size": 2, "ckpt_path": weights, "image": str(tmp_path / "files")}
    run_bundle("evaluating", ["inference", "study_inference"], bundle, **small)
    report = json.loads((output / "study_0001.json").read_text())
    assert sorted(view["file"] for view in report["views"].values()) == ["0.dcm", "1.dcm", "2.dcm"]
    assert set(report["breasts"]) == {f"{item['laterality']}" for item in chosen}
    for told in (*report["breasts"].values(), report["fused"]):
        for findings in told.values():
            assert sum(findings["probs"].values()) == pytest.approx(1.0, abs=1e-4)
