"""Bundles train, evaluate and infer through `monai.bundle`: from the root, from inside, and from a copy elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydicom import dcmread

from mtmedformer_monai.data import load_datalist
from mtmedformer_monai.io.sqlite_uri import sqlite_uri
from tests.bundles.conftest import ROOT, one_bundle

NO_KNOBS = {"experiment_name", "run_name", "tracking_uri", "save_execute_config", "is_not_rank0"}
"""What comes before the paths in train.json and says where a run is tracked."""

PICTURES = ("curves.png", "examples.png", "evaluation/examples.png")


def test_trains_evaluates_and_infers_from_the_root(bundle, run_bundle, cohort, tasks, monkeypatch):
    monkeypatch.chdir(ROOT)
    folder = Path("bundles") / bundle.name
    output = run_bundle("training", ["train"], folder, max_epochs=2)
    run_bundle("evaluating", ["train", "evaluate"], folder)
    image = load_datalist(cohort / "datalist.json", "test")[0]["image"]
    run_bundle("evaluating", ["inference"], folder, image=image, ckpt_path=str(output / "models/model.pt"))
    assert len(json.loads((output / "history.json").read_text())) == 2
    metrics = json.loads((output / "evaluation/metrics.json").read_text())
    assert metrics[f"{tasks[0]['name']}_cases"] > 0
    assert {f"{task['name']}_cases" for task in tasks} <= set(metrics)
    for picture in PICTURES:
        assert np.asarray(Image.open(output / picture).convert("L")).std() > 5
    source, stem = dcmread(image), Path(image).stem
    labels = np.asarray(Image.open(output / f"{stem}_labels.png"))
    assert labels.shape == (source.Rows, source.Columns)
    report = json.loads((output / f"{stem}.json").read_text())
    assert list(report["findings"]) == [task["name"] for task in tasks]
    for task in tasks:
        if "kind" in task:
            assert list(report["findings"][task["name"]]["probs"]) == task["classes"]
    assert "Synthetic^" not in (output / f"{stem}.json").read_text()


def test_starts_from_what_images_alone_have_taught(bundle, run_bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    output = run_bundle("training", ["train", "pretrain"], bundle)
    assert json.loads((output / "metrics.json").read_text())["reconstruction_psnr"] > 0
    pretrained = torch.load((output / "models/model.pt").rename(tmp_path / "pretrained.pt"), weights_only=True)
    shutil.rmtree(output)
    still = {"start_from": str(tmp_path / "pretrained.pt"), "learning_rate": 0.0}
    run_bundle("training", ["train"], bundle, **still)
    trained = torch.load(output / "models/model.pt", weights_only=True)
    shared = [name for name in pretrained if name.startswith(("encoder.", "pyramids."))]
    assert shared
    for name in shared:
        torch.testing.assert_close(trained[name], pretrained[name])


@one_bundle
def test_trains_from_inside_its_folder(bundle, run_bundle, monkeypatch):
    monkeypatch.chdir(bundle)
    output = run_bundle("training", ["train"], ".")
    assert (output / "models/model.pt").is_file()
    assert not (bundle / "eval").exists()


@one_bundle
def test_a_killed_training_goes_on_with_the_same_command(bundle, run_bundle, monkeypatch):
    monkeypatch.chdir(ROOT)
    output = run_bundle("training", ["train"], bundle, max_epochs=2, warmup_epochs=1)
    whole = torch.load(output / "checkpoint.pt", weights_only=True)
    shutil.rmtree(output)

    def die(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        from mtmedformer_monai.engines.prepare_batch import PrepareMultiTaskBatch

        real = PrepareMultiTaskBatch.__call__

        def call(self, *args, **kwargs):  # dies at the second epoch's first batch
            return die() if (output / "checkpoint.pt").exists() else real(self, *args, **kwargs)

        patch.setattr(PrepareMultiTaskBatch, "__call__", call)
        with pytest.raises(KeyboardInterrupt):
            run_bundle("training", ["train"], bundle, max_epochs=2, warmup_epochs=1)
    assert torch.load(output / "checkpoint.pt", weights_only=True)["epoch"] == 1
    run_bundle("training", ["train"], bundle, max_epochs=2, warmup_epochs=1)
    resumed = torch.load(output / "checkpoint.pt", weights_only=True)
    assert resumed["epoch"] == 2
    for name, value in whole["parts"]["network"].items():
        torch.testing.assert_close(resumed["parts"]["network"][name], value, rtol=0, atol=0)


@one_bundle
def test_an_unreadable_image_is_skipped_and_listed(bundle, run_bundle, cohort, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    spoiled = tmp_path / "spoiled"
    shutil.copytree(cohort, spoiled)
    victim = Path(load_datalist(spoiled / "datalist.json", "training")[0]["image"])
    victim.write_bytes(victim.read_bytes()[:1500])
    output = run_bundle("training", ["train"], bundle, dataset_dir=str(spoiled))
    listed = json.loads((output / "skipped_training.json").read_text())
    assert [Path(each["image"]).name for each in listed] == [victim.name]
    with pytest.raises((RuntimeError, ValueError)) as error:
        run_bundle("training", ["train"], bundle, dataset_dir=str(spoiled), on_unreadable="raise", resume=False)
    assert victim.name in _whole_story(error.value)


def test_monais_own_tracking_option_works_with_a_plain_path(cohorts, tmp_path, monkeypatch):
    """One store, in the output folder, with the names given; nothing in the working folder."""
    from mlflow import MlflowClient
    from monai.bundle import run

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    bundle, output = ROOT / "bundles/chest_xray_multitask", tmp_path / "my output?"
    train, evaluate = (str(bundle / f"configs/{name}.json") for name in ("train", "evaluate"))
    common = {
        "bundle_root": str(bundle),
        "dataset_dir": str(cohorts("chest")),
        "output_dir": str(output),
        "ckpt_dir": str(output / "models"),
        "image_size": [64, 64],
        "tracking": "mlflow",
        "experiment_name": "mine",
    }
    run("training", config_file=train, max_epochs=1, run_name="first", **common)
    run("evaluating", config_file=[train, evaluate], **common)
    assert list(Path.cwd().iterdir()) == []
    assert [path for path in tmp_path.rglob("*.db")] == [output / "mlflow.db"]  # noqa: C416
    client = MlflowClient(sqlite_uri(output / "mlflow.db"))
    found = client.search_runs([client.get_experiment_by_name("mine").experiment_id])
    evaluation, training = sorted(found, key=lambda run: run.data.tags["kind"])
    assert training.info.run_name == "first"
    assert evaluation.data.tags["mlflow.parentRunId"] == training.info.run_id
    assert "model.pt" in [artifact.path for artifact in client.list_artifacts(training.info.run_id)]
    assert training.data.params["tasks"] == "lung, opacity, opacity_box, finding, pneumonia_type"
    assert training.data.params["image_size"] == "[64, 64]"
    assert evaluation.data.params["evaluated_list"] == "test"


def test_every_knob_is_a_parameter_of_the_tracked_run(bundle):
    config = json.loads((bundle / "configs/train.json").read_text())
    names = list(config)
    knobs = set(names[: names.index("bundle_root")]) - NO_KNOBS
    assert {"image_size", "max_epochs", "learning_rate"} <= knobs
    logged = config["train"]["tracker"]["parameters"]
    expected = {name: f"@{name}" for name in knobs} | {"max_epochs": "@train#trainer#max_epochs"}
    assert expected == {name: logged.get(name) for name in knobs}


@pytest.mark.slow
@one_bundle
def test_two_processes_train_one_network(bundle, cohort, tracking_uri, tmp_path):
    configs = [str(bundle / f"configs/{name}.json") for name in ("train", "multi_gpu_train")]
    sizes = ["--image_size", "[64,64]", "--max_epochs", "2", "--batch_size", "4", "--num_workers", "0"]
    places = ["--bundle_root", str(bundle), "--dataset_dir", str(cohort), "--output_dir", str(tmp_path)]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [
            *launcher,
            "-m",
            "monai.bundle",
            "run",
            "training",
            "--config_file",
            str(configs),
            *sizes,
            *places,
            "--ckpt_dir",
            str(tmp_path / "models"),
        ],
        env={**os.environ, "MLFLOW_TRACKING_URI": tracking_uri, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    state = torch.load(tmp_path / "models/model.pt", weights_only=True)
    assert not any(name.startswith("module.") for name in state)
    assert len(json.loads((tmp_path / "history.json").read_text())) == 2


@pytest.fixture(scope="session")
def installed_wheel(tmp_path_factory):
    """The built wheel, unpacked where Python finds it."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(folder),
        str(_clean_tree(folder)),
    ]
    subprocess.run(command, check=True, capture_output=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_holds_every_file_of_the_packages(installed_wheel):
    """Templates and scripts of the report too, and packages that `pyproject.toml` would have to list."""
    roots = {ROOT / "mtmedformer_monai": ".", ROOT / "transforms": "transforms", ROOT / "federated": "federated"}
    packaged = {
        Path("mtmedformer_monai") / place / path.relative_to(root)
        for root, place in roots.items()
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert Path("mtmedformer_monai/deploy/report/report.html.jinja") in packaged
    found = {path.relative_to(installed_wheel) for path in installed_wheel.rglob("*") if path.is_file()}
    assert sorted(packaged - found) == []


@one_bundle
def test_a_copy_elsewhere_infers_by_the_wheel_beside_a_decoy(bundle, installed_wheel, cohort, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(bundle, elsewhere)
    (elsewhere / "transforms").mkdir()
    (elsewhere / "transforms/__init__.py").write_text("raise ImportError('the decoy was imported')\n")
    image = load_datalist(cohort / "datalist.json", "test")[0]["image"]
    script = (
        "import mtmedformer_monai.transforms as t; from monai.bundle import run; import json, sys;"
        "run('evaluating', config_file='configs/inference.json', image=sys.argv[1]);"
        "print('ORIGIN', t.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, image],
        cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": str(installed_wheel)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert str(installed_wheel) in done.stdout.split("ORIGIN")[1]
    assert (elsewhere / "eval" / f"{Path(image).stem}.json").is_file()


def _clean_tree(folder):
    """A copy of what a wheel is built from, so that building leaves no trace in the checkout."""
    tree = folder / "tree"
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("mtmedformer_monai", "transforms", "federated"):
        shutil.copytree(ROOT / name, tree / name, symlinks=True, ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree / name)
    return tree


def _whole_story(error):
    texts = []
    while error is not None:
        texts.append(str(error))
        error = error.__cause__
    return "\n".join(texts)
