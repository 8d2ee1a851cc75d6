"""Findings as results: areas, sizes and uncertainty, computed by hand."""

import numpy as np
import pytest

from mtmedformer_monai.deploy.describe_findings import describe_boxes, describe_class, describe_masks
from mtmedformer_monai.deploy.report.bars import classification
from mtmedformer_monai.tasks import ClassificationTask, DetectionTask, SegmentationTask
from mtmedformer_monai.tasks.operating import decide


def test_areas_use_both_spacings():
    masks = np.zeros((2, 4, 5), dtype=bool)
    masks[0, :2, :3] = True
    task = SegmentationTask("organ", ["left", "right"], threshold=0.4)
    finding = {"uncertainty": {"disagreement": {"left": 0.1, "right": 0.0}}}
    left, right = describe_masks(task, finding, masks, (0.5, 0.2))
    assert (left.structure, left.area_px, left.area_fraction, left.area_mm2) == ("left", 6, 0.3, 0.6)
    assert (left.threshold, left.uncertainty) == (0.4, {"disagreement": 0.1})
    assert (right.area_px, right.area_mm2) == (0, 0.0)
    assert describe_masks(task, {}, masks, None)[0].area_mm2 is None


def test_boxes_are_wide_by_columns_and_high_by_rows():
    task = DetectionTask("box", ["mass"])
    finding = {"boxes": [{"box": [1, 2, 11, 6], "score": 0.7, "class": "mass", "std": [0.3, 0.4], "score_std": 0.05}]}
    (box,) = describe_boxes(task, finding, (0.5, 0.2))
    assert (box.box, box.size_mm) == ((1.0, 2.0, 11.0, 6.0), (2.0, 2.0))
    assert box.uncertainty == {"std_x_px": 0.3, "std_y_px": 0.4, "score_std": 0.05}
    assert describe_boxes(task, finding, None)[0].size_mm is None


def test_a_class_that_does_not_apply_is_not_predicted():
    task = ClassificationTask("kind", ["a", "b"], "binary")
    finding = {"probs": {"a": 0.2, "b": 0.8}, "class": "not applicable", "applicable": False}
    found = describe_class(task, finding)
    assert (found.kind, found.predicted, found.applicable) == ("binary", (), False)
    assert describe_class(task, {"probs": {"a": 0.2, "b": 0.8}, "class": "b"}).predicted == ("b",)


def test_labels_thresholds_and_calibration_are_passed_on():
    task = ClassificationTask("signs", ["a", "b"], "multilabel")
    finding = {"probs": {"a": 0.9, "b": 0.8}, "classes": ["a", "b"], "calibrated": True, "thresholds": {"a": 0.3}}
    found = describe_class(task, finding)
    assert (found.predicted, found.calibrated, found.thresholds) == (("a", "b"), True, {"a": 0.3})


@pytest.mark.parametrize(
    ("kind", "thresholds", "flagged"),
    [("multiclass", {"C": 0.25}, ("C",)), ("ordinal", {"B": 0.8, "C": 0.5}, ("B",))],
    ids=["multi-class", "ordinal"],
)
def test_classes_that_reach_their_threshold_are_flagged_beside_the_predicted_one(kind, thresholds, flagged):
    """An ordinal class by its probability and those of higher ones: here 0.9 of B, 0.3 of C."""
    probabilities = {"A": 0.1, "B": 0.6, "C": 0.3}
    task = ClassificationTask("density", list(probabilities), kind)
    found = describe_class(task, {"probs": probabilities, **decide(kind, probabilities, thresholds)})
    assert (found.predicted, found.flagged, found.thresholds) == (("B",), flagged, thresholds)
    (said,) = classification("density", found).remarks
    assert said == f"operating threshold reached: {flagged[0]}{' or higher' * (kind == 'ordinal')}"
    marks = [bar.threshold for bar in classification("density", found).bars]
    assert marks == ([None, None, 25.0] if kind == "multiclass" else [None] * 3)
