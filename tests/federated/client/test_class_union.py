from __future__ import annotations

import pytest

from mtmedformer_monai.federated.client.class_union import restrict_tasks
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


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({"nothing": ["a"]}, "expects tasks out of"),
        ({"pathology": ["cyst"]}, "one or more of"),
        ({"pathology": []}, "one or more of"),
        ({"lung": ["lung"]}, "'lung' can't be restricted to known classes"),
    ],
    ids=["task", "class", "none", "masks"],
)
def test_unknown_classes_are_rejected(known, message):
    with pytest.raises(ValueError, match=message):
        restrict_tasks([ClassificationTask("pathology", CLASSES), SegmentationTask("lung", ["lung"])], known)
