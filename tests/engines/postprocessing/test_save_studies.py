import json
from types import SimpleNamespace

import torch

from mtmedformer_monai.engines import SaveStudies
from mtmedformer_monai.tasks import ClassificationTask, SegmentationTask, StudyTask

CLASSES = ["normal", "malignant"]
PATHOLOGY = ClassificationTask("pathology", CLASSES, "multiclass")
FUSED = [
    StudyTask(ClassificationTask("breast_pathology", CLASSES, "multiclass"), "pathology", "breast"),
    StudyTask(ClassificationTask("study_pathology", CLASSES, "multiclass"), "pathology", "study"),
]


def test_results_are_assigned_to_views_breasts_and_studies(tmp_path):
    image = torch.zeros(2, 4, 3, 3)
    image[0, 1:] = torch.nan  # the first study has only the right CC view
    chances = torch.arange(8.0)[:, None] / 10
    probs = {
        "pathology": torch.cat([1 - chances, chances], dim=1),
        "breast_pathology": torch.tensor([[0.9, 0.1], [0.5, 0.5], [0.7, 0.3], [0.2, 0.8]]),
        "study_pathology": torch.tensor([[0.6, 0.4], [0.3, 0.7]]),
    }
    files = [["rcc.dcm", "1.dcm"], ["", "2.dcm"], ["", "3.dcm"], ["", "4.dcm"]]
    batch = {"image": image, "study_id": ["1.2", "1.3"], "files": files}
    save = SaveStudies([SegmentationTask("lesion", ["lesion"]), PATHOLOGY], FUSED, str(tmp_path))
    save(SimpleNamespace(state=SimpleNamespace(batch=batch, output={"pred": probs})))

    first, second = (json.loads((tmp_path / f"study_{number:04d}.json").read_text()) for number in (1, 2))
    assert first["study"] == "1.2"
    assert list(first["views"]) == ["R_CC"]
    assert first["views"]["R_CC"]["file"] == "rcc.dcm"
    assert list(first["breasts"]) == ["R"]  # the breast without a view is omitted
    assert first["breasts"]["R"]["breast_pathology"]["probs"]["malignant"] == 0.1
    assert list(second["views"]) == ["R_CC", "R_MLO", "L_CC", "L_MLO"]
    assert second["views"]["L_MLO"]["findings"]["pathology"]["probs"]["malignant"] == 0.7
    assert second["breasts"]["L"]["breast_pathology"]["class"] == "malignant"
    assert second["study"] == "1.3"
    assert second["fused"]["study_pathology"]["probs"]["malignant"] == 0.7


def infer(tmp_path, study, root, dataset=(), **options):
    """Saves a study that has only its right CC view, from a folder `root`."""
    image = torch.full((1, 4, 3, 3), torch.nan)
    image[:, 0] = 0.0
    probs = {
        "pathology": torch.full((4, 2), 0.5),
        "breast_pathology": torch.full((2, 2), 0.5),
        "study_pathology": torch.full((1, 2), 0.5),
    }
    source = json.dumps({"path": str(root / "p/rcc.dcm"), "sop_instance_uid": "1.2", "flags": ["not verified"]})
    batch = {"image": image, "study_id": [study], "files": [["rcc.dcm"], [""], [""], [""]]}
    batch["sources"] = [[source], ["{}"], ["{}"], ["{}"]]
    save = SaveStudies([PATHOLOGY], FUSED, str(tmp_path / "out"), source=str(root), **options)
    loader = SimpleNamespace(dataset=SimpleNamespace(data=[{"study_id": name} for name in dataset]))
    engine = SimpleNamespace(state=SimpleNamespace(batch=batch, output={"pred": probs}, dataloader=loader))
    save._start(engine)
    save(engine)
    save._log_summary()


def test_views_and_weights_are_traced(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"weights")
    infer(tmp_path, "1.2.3", tmp_path / "in", weights=str(tmp_path / "model.pt"))
    report = json.loads((tmp_path / "out/study_0001.json").read_text())
    view = report["views"]["R_CC"]
    assert (view["file"], view["root"]) == ("p/rcc.dcm", str(tmp_path / "in"))
    assert (view["sop_instance_uid"], view["flags"]) == ("1.2", ["not verified"])
    assert report["notice"].startswith("Research use only")
    assert report["checkpoint"]["path"] == str(tmp_path / "model.pt")
    assert set(report["versions"]) == {"mtmedformer_monai", "monai", "torch"}


def test_processes_agree_on_numbers_and_runs_do_not_overwrite_each_other(tmp_path):
    infer(tmp_path, "1.2.4", tmp_path / "in", dataset=["1.2.3", "1.2.4"])  # the second process of two
    infer(tmp_path, "1.2.3", tmp_path / "in", dataset=["1.2.3", "1.2.4"])
    infer(tmp_path, "9.9", tmp_path / "other", dataset=["9.9"])
    infer(tmp_path, "9.9", tmp_path / "other", dataset=["9.9"])
    found = {json.loads(path.read_text())["study"]: path.stem for path in (tmp_path / "out").glob("*.json")}
    assert found.pop("9.9").startswith("study_0001_")
    assert found == {"1.2.3": "study_0001", "1.2.4": "study_0002"}


def test_the_summary_counts_results_and_not_the_studies_that_were_listed(tmp_path, caplog):
    caplog.set_level("INFO")
    infer(tmp_path, "a", tmp_path, dataset=["a", "unreadable"])
    assert caplog.messages[-1] == f"Predictions of 1 studies in {tmp_path / 'out'}."
