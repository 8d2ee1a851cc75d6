"""Which boxes the picture shows."""

from __future__ import annotations

from dataclasses import replace

from mtmedformer_monai.deploy.overlay_file import describe_lines, drawn_boxes
from mtmedformer_monai.deploy.report.bars import classification
from mtmedformer_monai.deploy.results import BoxResult, ClassResult
from mtmedformer_monai.visualization.overlay import MAX_BOXES
from tests.deploy.sources import FULL, result_of, write_chest


def test_every_reported_box_is_drawn_up_to_a_number_per_task(tmp_path):
    """Also one whose score is low, where the operating threshold is lower still."""
    scores = [0.06, *(0.5 + 0.01 * number for number in range(MAX_BOXES + 1))]
    boxes = tuple(BoxResult((1.0, 2.0, 3.0, 4.0), "opacity", score, threshold=0.05) for score in scores)
    result = replace(result_of(write_chest(tmp_path / "source.dcm"), **FULL), boxes={"low": boxes[:1], "many": boxes})
    drawn = drawn_boxes(result)
    assert [box.probability for box in drawn] == [0.06, *sorted(scores, reverse=True)[:MAX_BOXES]]


def test_a_class_below_one_half_is_predicted_with_its_threshold(tmp_path):
    """Else a reader would take the prediction of the less probable class for an error."""
    found = ClassResult("binary", {"normal": 0.7, "pneumonia": 0.3}, ("pneumonia",), thresholds={"pneumonia": 0.2})
    result = replace(result_of(write_chest(tmp_path / "source.dcm"), **FULL), classes={"finding": found})
    assert describe_lines(result)[-2:] == ["  0.70  normal", "  0.30  pneumonia  (predicted; threshold 0.20)"]


def test_a_probability_just_below_its_threshold_is_not_shown_as_equal(tmp_path):
    found = ClassResult("binary", {"normal": 0.703, "pneumonia": 0.297}, ("normal",), thresholds={"pneumonia": 0.3})
    result = replace(result_of(write_chest(tmp_path / "source.dcm"), **FULL), classes={"finding": found})
    assert describe_lines(result)[-2:] == ["  0.70  normal  (predicted)", "  0.297  pneumonia"]
    (row,) = [bar for bar in classification("finding", found).bars if bar.label == "pneumonia"]
    assert row.spoken == "pneumonia: probability 0.297, operating threshold 0.300"
