"""What MONAI Label 0.8.5 relies on, with stock MONAI alone; `make monai-label` runs its real server.

Each helper restates a rule of its app `monaibundle` (monailabel/tasks/infer/bundle.py, tasks/train/bundle.py,
transform/post.py).
"""

from __future__ import annotations

import json
import shutil

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.bundle import run as bundle_run
from monai.data import decollate_batch, partition_dataset
from PIL import Image

from mtmedformer_monai.data import load_datalist
from mtmedformer_monai.transforms import read_radiograph
from mtmedformer_monai.transforms.read_mask import read_mask

SHAPE = (60, 44)
"""(H, W) of all images here, so that no two axes can be taken for each other."""


def restored_size(meta, pred):
    """`Restored` resizes `pred` (channel first) to the last numbers of `spatial_shape`, by default its own size."""
    current = pred.shape[1:]
    return tuple(meta.get("spatial_shape", current)[-len(current) :]), tuple(current)


def answer(bundle, path):
    """Inference as the app runs it: `pred` as it is written, and `result`."""
    config = ConfigParser()
    config.read_config(str(bundle / "configs/inference.json"))  # no metadata: none may be reachable
    config.config["bundle_root"] = str(bundle)
    network, preprocessing, inferer, postprocessing = (
        config.get_parsed_content(name) for name in ("network_def", "preprocessing", "inferer", "postprocessing")
    )
    network.load_state_dict(torch.load(bundle / "models/model.pt", weights_only=True))
    item = {"image": str(path), "image_path": str(path), "model": bundle.name, "device": "cpu"}
    for transform in preprocessing.transforms:  # one by one, without Compose
        item = transform(item)
    with torch.no_grad():
        outputs = inferer(item["image"][None], network.eval())
    item["pred"] = decollate_batch(outputs)[0]
    for transform in postprocessing.transforms:
        item = transform(item)
    size, current = restored_size(item["image"].meta, item["pred"])
    assert size == current
    pred = np.asarray(item["pred"])
    return (pred[0] if pred.ndim == 4 else pred), item["result"]


def train_by_request(folder, items, max_epochs):
    """A training as the app asks for it, with our small image size on top."""
    training, validation = partition_dataset(items, ratios=[0.8, 0.2])
    config = ConfigParser()
    config.read_config(str(folder / "configs/train.json"))
    handlers = config.get("train#handlers")
    assert not [handler for handler in handlers if handler.get("_target_") == "CheckpointLoader"]
    loader = {
        "_target_": "CheckpointLoader",
        "load_path": str(folder / "models/model.pt"),
        "load_dict": {"model": "$@network"},
        "strict": False,
    }
    bundle_run(
        run_id="run",
        init_id=None,
        final_id=None,
        meta_file=str(folder / "configs/metadata.json"),
        config_file=str(folder / "configs/train.json"),
        bundle_root=str(folder),
        device="cpu",
        image_size=[64, 64],
        **{
            "train#trainer#max_epochs": max_epochs,
            "train#dataset#data": training,
            "validate#dataset#data": validation,
            "train#handlers": [loader, *handlers],
        },
    )
    return json.loads((folder / "eval/history.json").read_text())


@pytest.fixture
def sources(cohort, tmp_path):
    """One picture of the cohort as PNG, NIfTI of two and of three axes, and across the body; and a DICOM file."""
    source = load_datalist(cohort / "datalist.json", "test")[0]["image"]
    picture = np.zeros(SHAPE, dtype=np.uint8)
    values = np.round(read_radiograph(source)[0] * 255)[: SHAPE[0], : SHAPE[1]]
    picture[: values.shape[0], : values.shape[1]] = values
    Image.fromarray(picture).save(tmp_path / "picture.png")
    axial = np.diag([-0.3, -0.2, 1.0, 1.0])
    coronal = np.array([[0.0, 0.3, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.2, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    nibabel.save(nibabel.Nifti1Image(picture.T, axial), tmp_path / "plane.nii.gz")
    nibabel.save(nibabel.Nifti1Image(picture.T[:, :, None], axial), tmp_path / "slice.nii.gz")
    upwards = np.ascontiguousarray(picture[::-1, ::-1])[:, :, None]
    nibabel.save(nibabel.Nifti1Image(upwards, coronal), tmp_path / "coronal.nii.gz")
    return {
        "png": (tmp_path / "picture.png", lambda labels: labels.T),
        "nifti": (tmp_path / "plane.nii.gz", lambda labels: labels.T),
        "nifti with a slice": (tmp_path / "slice.nii.gz", lambda labels: labels.T[:, :, None]),
        "nifti across the body": (tmp_path / "coronal.nii.gz", lambda labels: labels[::-1, ::-1][:, :, None]),
        "dicom": (source, lambda labels: labels.T),
    }


def test_answers_equal_our_own_inference(bundle, run_bundle, sources):
    for name, (path, to_file) in sources.items():
        weights = str(bundle / "models/model.pt")
        size = json.loads((bundle / "configs/inference.json").read_text())["image_size"]
        output = run_bundle("evaluating", ["inference"], bundle, image=str(path), ckpt_path=weights, image_size=size)
        (labels,) = output.glob("*_labels.png")
        (report,) = [file for file in output.glob("*.json") if "findings" in file.read_text()]
        pred, result = answer(bundle, path)
        np.testing.assert_array_equal(pred, to_file(np.asarray(Image.open(labels))), err_msg=name)
        assert result == json.loads(report.read_text())["findings"], name
        json.dumps(result, allow_nan=False)
        shutil.rmtree(output)


def test_annotators_labels_are_learned_by_every_request(bundle, cohort, tasks, tracking_uri, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    folder = tmp_path / bundle.name
    shutil.copytree(bundle, folder)
    items, segmenting = draw(cohort, tasks, tmp_path)
    weights = [torch.load(folder / "models/model.pt", weights_only=True)]
    for num_labels, max_epochs in ((2, 2), (4, 1)):  # of two labels none is left for validation
        history = train_by_request(folder, items[:num_labels], max_epochs)
        assert [row["epoch"] for row in history] == list(range(1, max_epochs + 1))
        losses = {
            name for name, value in history[-1]["train"].items() if name.startswith("loss_") and value is not None
        }
        assert losses == {f"loss_{task['name']}" for task in segmenting}
        weights.append(torch.load(folder / "models/model.pt", weights_only=True))
        previous = torch.load(folder / "models/model_previous.pt", weights_only=True)
        assert distance(weights[-2], previous) == 0
        assert 0 < distance(weights[-2], weights[-1]) < 0.3  # weights made anew are further away than 1
    assert bool(history[-1]["validation"])


def draw(cohort, tasks, folder):
    """Items as the server gives them: each image with all its structures in one label map."""
    segmenting = [task for task in tasks if "structures" in task]
    structures = [name for task in segmenting for name in task["structures"]]
    items = []
    for item in load_datalist(cohort / "datalist.json", "training"):
        if set(structures) <= set(item.get("masks", {})):
            masks = [read_mask(item["masks"][name]) for name in structures]
            drawn = np.zeros(masks[0].shape, dtype=np.uint8)
            for number, mask in enumerate(masks, start=1):
                drawn[mask] = number
            path = folder / f"label{len(items)}.nii.gz"
            nibabel.save(nibabel.Nifti1Image(drawn.T[:, :, None], np.diag([-1.0, -1.0, 1.0, 1.0])), path)
            items.append({"image": item["image"], "label": str(path)})
    return items, segmenting


def distance(before, after):
    """Between two sets of weights, relative to the norm of the first."""
    names = [name for name, value in before.items() if value.is_floating_point()]
    moved = sum(float((after[name] - before[name]).square().sum()) for name in names)
    return (moved / sum(float(before[name].square().sum()) for name in names)) ** 0.5


def test_the_name_says_segmentation(bundle):
    """The app takes another kind of task from these words in a folder's name."""
    for word in ("detection", "classification", "deepedit", "deepgrow"):
        assert word not in bundle.name


def test_labels_are_numbered_as_the_map_is(bundle, tasks):
    metadata = json.loads((bundle / "configs/metadata.json").read_text())
    name, output = next(iter(metadata["network_data_format"]["outputs"].items()))
    structures = [structure for task in tasks for structure in task.get("structures", [])]
    assert name == "pred"
    assert output["channel_def"] == {str(n): label for n, label in enumerate(["background", *structures])}
