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
    figures = json.loads((output / "evaluation/metrics.json").read_text())
    for name in FUSED:
        assert figures[f"{name}_cases"] > 0
    assert figures["lesion_cases"] > 0
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
