"""Conversion of raw outputs to findings, with values computed by hand."""

from __future__ import annotations

import pytest
import torch

from mtmedformer_monai.engines import ActivateTasksd, DescribeTasksd, LabelMapd
from mtmedformer_monai.engines.postprocessing.save_predictions import label_names
from mtmedformer_monai.tasks import ClassificationTask, SegmentationTask

TASKS = [
    SegmentationTask("lung", ["left", "right"]),
    SegmentationTask("opacity", ["opacity"]),
    ClassificationTask("finding", ["normal", "pneumonia"], "binary"),
]


def make_item():
    lung = torch.tensor([[[5.0, -5.0, -5.0]], [[-5.0, 5.0, -5.0]]])
    opacity = torch.tensor([[[-5.0, 5.0, -5.0]]])
    return {"pred": {"lung": lung, "opacity": opacity, "finding": torch.tensor([0.0])}}


def test_activation_returns_probabilities_and_does_not_change_the_item():
    item = make_item()
    probs = ActivateTasksd(TASKS)(item)["pred"]
    assert probs["finding"].tolist() == [0.5, 0.5]
    assert probs["lung"][0, 0, 0] == pytest.approx(0.9933, abs=1e-4)
    assert item["pred"]["finding"].tolist() == [0.0]


def test_activation_of_a_batch_is_that_of_its_images():
    single = ActivateTasksd(TASKS)(make_item())["pred"]
    batch = {"pred": {name: output[None] for name, output in make_item()["pred"].items()}}
    for name, probs in ActivateTasksd(TASKS)(batch)["pred"].items():
        torch.testing.assert_close(probs[0], single[name])


def test_description_is_plain_python():
    item = DescribeTasksd(TASKS)(ActivateTasksd(TASKS)(make_item()))
    assert item["result"]["finding"]["probs"] == {"normal": 0.5, "pneumonia": 0.5}
    assert item["result"]["lung"]["area_fraction"] == pytest.approx({"left": 1 / 3, "right": 1 / 3}, abs=1e-6)
    assert item["probs"]["opacity"].shape == (1, 1, 3)


def test_label_map_numbers_structures_from_1_with_later_ones_on_top():
    item = LabelMapd(TASKS)(ActivateTasksd(TASKS)(make_item()))
    assert item["pred"].shape == (3, 1)  # columns first
    assert item["pred"].dtype == torch.uint8
    assert item["pred"][:, 0].tolist() == [1, 3, 0]
    assert label_names(TASKS) == ["background", "left", "right", "opacity"]


def test_a_label_map_without_segmentation_is_refused():
    with pytest.raises(ValueError, match="remove LabelMapd from the config"):
        LabelMapd(TASKS[2:])({"pred": {"finding": torch.tensor([0.5, 0.5])}})
