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


def test_each_result_stands_where_it_belongs(tmp_path):
    image = torch.zeros(2, 4, 3, 3)
    image[0, 1:] = torch.nan  # the first study has the right CC alone
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
    assert list(first["breasts"]) == ["R"]  # nothing is said of the breast without a view
    assert first["breasts"]["R"]["breast_pathology"]["probs"]["malignant"] == 0.1
    assert list(second["views"]) == ["R_CC", "R_MLO", "L_CC", "L_MLO"]
    assert second["views"]["L_MLO"]["findings"]["pathology"]["probs"]["malignant"] == 0.7
    assert second["breasts"]["L"]["breast_pathology"]["class"] == "malignant"
    assert second["study"] == "1.3"
    assert second["fused"]["study_pathology"]["probs"]["malignant"] == 0.7
