"""Result files of one image are traceable and contain no patient attributes."""

import hashlib
import json
from types import SimpleNamespace

import monai
import numpy as np
import pytest
import torch
from PIL import Image

from mtmedformer_monai import __version__
from mtmedformer_monai.engines import ActivateTasksd, DescribeTasksd, LabelMapd, SavePredictions
from mtmedformer_monai.tasks import ClassificationTask, DetectionTask, SegmentationTask
from mtmedformer_monai.transforms import ChestRules, LoadRadiographd, RestoreToSourced

TASKS = [
    SegmentationTask("lung", ["lung"]),
    DetectionTask("spot", ["spot"]),
    ClassificationTask("finding", ["normal", "pneumonia"], "binary"),
]


def predict(path):
    """Returns an item after postprocessing, whose box extends beyond the left edge of the image."""
    item = LoadRadiographd("image", rules=ChestRules())({"image": str(path)})
    height, width = item["image"].shape[1:]
    box = torch.tensor([[-156.0, 1.0, 4.0, 5.0, 2.0, 3.0, 4.0, 3.0]])
    item["pred"] = {"lung": torch.full((1, height, width), 5.0), "spot": box, "finding": torch.tensor([-1.0])}
    for transform in (ActivateTasksd(TASKS), RestoreToSourced("pred"), DescribeTasksd(TASKS), LabelMapd(TASKS)):
        item = transform(item)
    return item


def save(folder, paths, dataset=None, **options):
    saver = SavePredictions(TASKS, str(folder), overlay=options.pop("overlay", False), **options)
    loader = SimpleNamespace(dataset=SimpleNamespace(data=dataset)) if dataset else None
    engine = SimpleNamespace(state=SimpleNamespace(dataloader=loader, output=[predict(path) for path in paths]))
    saver._start(engine)
    saver(engine)
    saver._log_summary()


@pytest.fixture
def source(make_dicom, tmp_path):
    (tmp_path / "in/a").mkdir(parents=True)
    return make_dicom(name="in/a/IM1.dcm", BodyPartExamined="CHEST", ViewPosition="PA", ImageLaterality="U")


def test_a_result_is_traced_to_image_weights_and_versions(source, tmp_path):
    (tmp_path / "model.pt").write_bytes(b"weights")
    (tmp_path / "bundle/configs").mkdir(parents=True)
    (tmp_path / "bundle/configs/metadata.json").write_text('{"name": "Chest", "version": "1.2.3"}')
    options = {"weights": str(tmp_path / "model.pt"), "bundle_root": str(tmp_path / "bundle")}
    save(tmp_path / "out", [source], source=str(tmp_path / "in"), **options)
    text = (tmp_path / "out/IM1.json").read_text()
    report = json.loads(text)
    root = "1.2.826.0.1.3680043.8.498"
    assert (report["image"], report["root"]) == ("a/IM1.dcm", str(tmp_path / "in"))
    assert report["sop_instance_uid"] == f"{root}.1"
    assert (report["study_instance_uid"], report["series_instance_uid"]) == (f"{root}.2", f"{root}.3")
    assert (report["view"], report["laterality"], report["modality"]) == ("PA", None, "DX")
    assert (report["size"], report["spacing_mm"], report["flags"]) == ([16, 12], None, [])
    digest = hashlib.sha256(b"weights").hexdigest()
    assert report["checkpoint"] == {"path": str(tmp_path / "model.pt"), "sha256": digest}
    assert report["bundle"] == {"name": "Chest", "version": "1.2.3"}
    known = {"mtmedformer_monai": __version__, "monai": monai.__version__, "torch": torch.__version__}
    assert report["versions"] == known
    assert report["notice"].startswith("Research use only")
    assert "Doe" not in text
    assert "4711" not in text


def test_boxes_stay_within_the_image(source, tmp_path):
    save(tmp_path / "out", [source])
    report = json.loads((tmp_path / "out/IM1.json").read_text())
    assert [found["box"] for found in report["findings"]["spot"]["boxes"]] == [[0.0, 1.0, 4.0, 5.0]]


def test_a_run_without_weights_and_bundle_is_recorded_as_such(source, tmp_path):
    save(tmp_path / "out", [source], bundle_root=str(tmp_path / "none"), weights=str(tmp_path / "none.pt"))
    report = json.loads((tmp_path / "out/IM1.json").read_text())
    assert report["checkpoint"] is None
    assert report["bundle"] is None
    assert report["root"] == str(source.parent)


def test_images_of_equal_names_get_different_files_within_and_across_runs(tmp_path):
    paths = []
    for number, name in enumerate(("a/IM1.png", "b/IM1.png", "IM1_2.png"), start=1):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4 + number, 5), 100, np.uint8)).save(path)
        paths.append(str(path))
    for _ in range(2):
        save(tmp_path / "out", paths, [{"image": path} for path in paths], source=str(tmp_path / "in"))
    reports = {path.name[:-5]: json.loads(path.read_text()) for path in (tmp_path / "out").glob("*.json")}
    assert sorted(report["image"] for report in reports.values()) == ["IM1_2.png", "a/IM1.png", "b/IM1.png"]
    for name, report in reports.items():
        assert Image.open(tmp_path / f"out/{name}_labels.png").size[::-1] == tuple(report["size"])


def test_the_picture_shows_the_notice(source, tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    said = []
    monkeypatch.setattr(Figure, "suptitle", lambda self, text, **options: said.append(text))
    save(tmp_path / "out", [source], overlay=True)
    assert (tmp_path / "out/IM1_overlay.png").is_file()
    assert said == ["Research use only; not for diagnosis or treatment."]


def test_the_summary_counts_results_and_not_the_images_that_were_listed(source, tmp_path, caplog):
    caplog.set_level("INFO")
    save(tmp_path / "out", [source], dataset=[{"image": str(source)}, {"image": str(tmp_path / "in/broken.dcm")}])
    assert caplog.messages[-1] == f"Predictions of 1 images in {tmp_path / 'out'}."
