"""What the bundles' inference admits, names, traces and refuses, with the weights that they ship."""

from __future__ import annotations

import hashlib
import json
import logging

import numpy as np
import pytest
import torch
from monai.bundle import run as bundle_run
from PIL import Image

from mtmedformer_monai.io.error_line import error_line
from tests.bundles.conftest import ROOT, one_bundle


def infer(bundle, output, image, **overrides):
    """Without the fixture's small sizes: the weights are checked against the config."""
    bundle_run(
        "evaluating",
        config_file=str(bundle / "configs/inference.json"),
        bundle_root=str(bundle),
        output_dir=str(output),
        image=image,
        **overrides,
    )
    return {report["image"]: report for report in map(read, sorted(output.glob("*.json"))) if "image" in report}


def read(path):
    content = json.loads(path.read_text())
    return content if isinstance(content, dict) else {}


def draw(path, size, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, size, dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def files_below(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_each_image_has_a_result_that_is_traced_to_it(bundle, tmp_path):
    sizes = {"a/IM1.png": (60, 50), "b/IM1.png": (70, 80), "IM1_2.png": (90, 40)}
    for seed, (name, size) in enumerate(sizes.items()):
        draw(tmp_path / "in" / name, size, seed)
    for _ in range(2):
        reports = infer(bundle, tmp_path / "out", str(tmp_path / "in"))
    assert {name: tuple(report["size"]) for name, report in reports.items()} == sizes
    assert len(list((tmp_path / "out").glob("*.json"))) == 3
    digest = hashlib.sha256((bundle / "models/model.pt").read_bytes()).hexdigest()
    for report in reports.values():
        assert report["root"] == str(tmp_path / "in")
        assert report["checkpoint"]["sha256"] == digest
        assert report["notice"].startswith("Research use only")
        assert "no DICOM header" in report["flags"][0]
        rows, columns = report["size"]
        for task in report["findings"].values():
            for x1, y1, x2, y2 in (found["box"] for found in task.get("boxes", [])):
                assert 0 <= x1 < x2 <= columns
                assert 0 <= y1 < y2 <= rows


@pytest.mark.parametrize(
    ("name", "modality", "elements"),
    [
        ("chest_xray_multitask", "CR", {"BodyPartExamined": "HIP"}),
        ("chest_xray_multitask", "DX", {"BodyPartExamined": "CHEST", "ViewPosition": "LL"}),
        ("chest_xray_multitask", "MG", {"BodyPartExamined": "BREAST"}),
        ("mammography_multitask", "RG", {"BodyPartExamined": "CHEST"}),
        ("mammography_multitask", "DX", {"BodyPartExamined": "CHEST"}),
    ],
)
def test_what_is_of_another_kind_is_refused_and_listed(name, modality, elements, make_dicom, tmp_path):
    make_dicom(name="other.dcm", rows=40, columns=40, modality=modality, **elements)
    draw(tmp_path / "right.png", (40, 40), 0)
    reports = infer(
        ROOT / "bundles" / name, tmp_path / "out", [str(tmp_path / "other.dcm"), str(tmp_path / "right.png")]
    )
    assert list(reports) == ["right.png"]
    bad = json.loads((tmp_path / "out/skipped.json").read_text())
    assert [entry["image"] for entry in bad] == [str(tmp_path / "other.dcm")]


def test_a_knob_admits_it_with_a_flag(make_dicom, tmp_path):
    path = make_dicom(rows=40, columns=40, BodyPartExamined="CHEST", ViewPosition="LL")
    reports = infer(
        ROOT / "bundles/chest_xray_multitask",
        tmp_path / "out",
        str(path),
        **{"admission#lateral": "flag", "guard": "off"},
    )
    assert reports["radiograph.dcm"]["flags"] == ["a lateral view"]
    assert "Doe" not in (tmp_path / "out/radiograph.json").read_text()


@pytest.mark.parametrize(("threshold", "said"), [(0.0, {"bacterial", "viral"}), (1.0, {"not applicable"})])
def test_a_type_of_pneumonia_needs_a_pneumonia(threshold, said, tmp_path):
    draw(tmp_path / "a.png", (40, 40), 0)
    overrides = {"tasks#4#applies_if#probability": threshold, "calibration": "off"}
    found = infer(ROOT / "bundles/chest_xray_multitask", tmp_path / "out", str(tmp_path / "a.png"), **overrides)
    told = found["a.png"]["findings"]["pneumonia_type"]
    assert told["class"] in said
    assert told["applies_if"]["probability"] == threshold


def test_shipped_weights_carry_the_configs_tasks(bundle, tmp_path, caplog):
    draw(tmp_path / "a.png", (40, 40), 0)
    with caplog.at_level(logging.WARNING):
        infer(bundle, tmp_path / "out", str(tmp_path / "a.png"))
    assert "model.json" not in caplog.text
    with pytest.raises(RuntimeError) as error:
        infer(bundle, tmp_path / "out", str(tmp_path / "a.png"), image_size=[64, 64])
    assert "image_size is [" in error_line(error.value)
    assert "[64, 64] in the config" in error_line(error.value)
    state = torch.load(bundle / "models/model.pt", weights_only=True)
    assert all(isinstance(value, torch.Tensor) for value in state.values())


@pytest.mark.parametrize("configs", [["train"], ["train", "evaluate"], ["inference"]], ids=str)
def test_a_mistyped_option_ends_the_run_at_once(bundle, run_bundle, configs):
    with pytest.raises(RuntimeError) as error:
        run_bundle("run", configs, bundle, output_dri="x")
    assert error_line(error.value).startswith("error: no option is called 'output_dri': nothing reads it; did you mean")


@one_bundle
def test_a_bundle_is_left_as_it_is_where_the_output_goes_elsewhere(bundle, cohort, tracking_uri, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    before, output = files_below(bundle), tmp_path / "own"
    common = {"bundle_root": str(bundle), "dataset_dir": str(cohort), "output_dir": str(output)}
    sizes = {"image_size": [64, 64], "batch_size": 8}
    train, evaluate = (str(bundle / f"configs/{name}.json") for name in ("train", "evaluate"))
    bundle_run("training", config_file=train, max_epochs=1, warmup_epochs=0, **common, **sizes)
    bundle_run("evaluating", config_file=[train, evaluate], **common, **sizes)
    assert (output / "models/model.pt").is_file()
    assert json.loads((output / "models/model.json").read_text())["image_size"] == [64, 64]
    assert (output / "evaluation/metrics.json").is_file()
    assert files_below(bundle) == before
