"""Which boxes the picture shows."""

from __future__ import annotations

from dataclasses import replace

from mtmedformer_monai.deploy.overlay_file import drawn_boxes
from mtmedformer_monai.deploy.results import BoxResult
from mtmedformer_monai.visualization.overlay import MAX_BOXES
from tests.deploy.sources import FULL, result_of, write_chest


def test_every_reported_box_is_drawn_up_to_a_number_per_task(tmp_path):
    """Also one whose score is low, where the operating threshold is lower still."""
    scores = [0.06, *(0.5 + 0.01 * number for number in range(MAX_BOXES + 1))]
    boxes = tuple(BoxResult((1.0, 2.0, 3.0, 4.0), "opacity", score, threshold=0.05) for score in scores)
    result = replace(result_of(write_chest(tmp_path / "source.dcm"), **FULL), boxes={"low": boxes[:1], "many": boxes})
    drawn = drawn_boxes(result)
    assert [box.probability for box in drawn] == [0.06, *sorted(scores, reverse=True)[:MAX_BOXES]]
