from __future__ import annotations

import pytest

from mtmedformer_monai.federated.client.class_union import map_annotations, restrict_tasks
from mtmedformer_monai.tasks import ClassificationTask, DetectionTask, SegmentationTask

CLASSES = ["normal", "benign", "malignant"]


def restrict(task, *known):
    return restrict_tasks([task], {task.name: known})[0]


def test_a_task_that_is_known_whole_stays_as_it_is():
    task = ClassificationTask("pathology", CLASSES)
    assert restrict_tasks([task], {}) == [task]
    assert restrict(task, *reversed(CLASSES)) is task


def detection(classes):
    return DetectionTask("box", classes, max_boxes=2)


def test_annotations_come_into_the_federations_names():
    tasks = [detection(["mass", "calcification"]), ClassificationTask("pathology", CLASSES)]
    item = {"image": "x", "boxes": {"lump": [[0, 0, 1, 1]]}, "labels": {"pathology": "B9"}, "masks": {"lump": "m"}}
    mapped = map_annotations(item, tasks, {"box": ["mass"]}, {"lump": "mass", "B9": "benign"})
    assert mapped["boxes"] == {"mass": [[0, 0, 1, 1]], "calcification": []}
    assert mapped["labels"] == {"pathology": "benign"}
    assert mapped["masks"] == {"mass": "m"}
    assert item["labels"] == {"pathology": "B9"}
    assert "boxes" not in map_annotations({"image": "x"}, tasks, {"box": ["mass"]}, {})


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({"nothing": ["a"]}, "expects tasks out of"),
        ({"pathology": ["cyst"]}, "one or more of"),
        ({"pathology": []}, "one or more of"),
        ({"lung": ["lung"]}, "expects tasks with classes"),
    ],
    ids=["task", "class", "none", "masks"],
)
def test_what_nobody_has_is_told(known, message):
    with pytest.raises(ValueError, match=message):
        restrict_tasks([ClassificationTask("pathology", CLASSES), SegmentationTask("lung", ["lung"])], known)
