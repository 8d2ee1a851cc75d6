import json
from pathlib import Path

import pytest

from mtmedformer_monai.data.public.task_classes import BUNDLE_TASKS, TASK_CLASSES, classes_of

CONFIGS = {
    "chest": "bundles/chest_xray_multitask/configs/train.json",
    "mammography": "bundles/mammography_multitask/configs/train.json",
}


@pytest.mark.parametrize("bundle", BUNDLE_TASKS)
def test_they_are_the_bundles_own(bundle):
    tasks = json.loads((Path(__file__).parents[3] / CONFIGS[bundle]).read_text())["tasks"]
    assert [task["name"] for task in tasks] == list(BUNDLE_TASKS[bundle])
    for task in tasks:
        if task["_target_"].endswith("ClassificationTask"):
            assert task["classes"] == list(TASK_CLASSES[task["name"]])


def test_tasks_without_classes_are_left_out():
    assert classes_of(["lung", "finding"]) == {"finding": ["normal", "pneumonia"]}
