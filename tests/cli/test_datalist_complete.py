"""The command: tasks and image size are those of each network, and no datalist is overwritten."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from mtmedformer_monai.cli.main import main
from mtmedformer_monai.data import load_datalist, save_datalist
from tests.bundles.conftest import ROOT
from tests.small_bundle import write_small_bundle

CHEST = ROOT / "bundles/chest_xray_multitask"


@pytest.fixture
def datalist(tmp_path):
    Image.fromarray(np.full((40, 30), 99, dtype=np.uint8)).save(tmp_path / "a.png")
    return save_datalist(
        {"training": [{"image": "a.png", "labels": {"finding": "normal"}}]}, tmp_path / "datalist.json"
    )


@pytest.fixture
def small(tmp_path):
    """A bundle with a small network for opacities and findings, and its weights with a card."""
    bundle = tmp_path / "bundle"
    write_small_bundle(bundle, ["opacity", "finding"])
    for name in ("train", "complete"):
        config = json.loads((CHEST / f"configs/{name}.json").read_text())
        (bundle / f"configs/{name}.json").write_text(json.dumps(config))
    tasks = [task for task in config_tasks(bundle) if task["name"] in ("opacity", "finding")]
    card = {"weights": {"file": "model.pt", "sha256": ""}, "image_size": [32, 32], "tasks": tasks}
    (bundle / "models/model.json").write_text(json.dumps(card))
    return bundle


def config_tasks(bundle):
    return json.loads((bundle / "configs/train.json").read_text())["tasks"]


def run(datalist, output, bundle, *options):
    return main(["datalist", "complete", *map(str, (datalist, output)), "--bundle", str(bundle), "--trust", *options])


def test_normal_images_get_empty_masks_from_a_network_of_some_tasks(datalist, small, tmp_path):
    assert run(datalist, tmp_path / "out", small, "--ckpt", str(small / "models/model.pt")) == 0
    (item,) = load_datalist(tmp_path / "out/datalist.json", "training")
    assert item["completed"] == ["opacity"]
    mask = np.asarray(Image.open(item["masks"]["opacity"]))
    assert mask.shape == (40, 30)
    assert not mask.any()


def test_what_cannot_be_completed_is_an_error_with_the_remedy(datalist, tmp_path, caplog):
    torch.save({}, tmp_path / "model.pt")
    weights = ("--ckpt", str(tmp_path / "model.pt"))
    assert run(datalist, datalist, CHEST, *weights) == 2
    assert "itself; choose another file" in caplog.text
    assert run(datalist, tmp_path / "out", CHEST, "--ckpt", str(tmp_path / "none.pt")) == 2
    assert f"no file at {tmp_path / 'none.pt'}" in caplog.text
    assert run(datalist, tmp_path / "out", CHEST, *weights) == 2
    assert "has no model card model.json beside it" in caplog.text
    (tmp_path / "model.json").write_text(json.dumps({"image_size": [64, 64], "tasks": [{"name": "lung"}]}))
    assert run(datalist, tmp_path / "out", CHEST, *weights, "--tasks", "opacity") == 2
    assert "has the tasks ['lung'], none of --tasks ['opacity']" in caplog.text
    assert not (tmp_path / "out").exists()
