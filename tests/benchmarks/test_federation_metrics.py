"""Metrics by image and site, and the networks of several sites combined."""

from __future__ import annotations

import pytest
import torch
from federation_metrics import Evaluation, combine, flatten, image_dice, measure

from mtmedformer_monai.tasks import ClassificationTask, SegmentationTask

TASK = SegmentationTask("lung", ["lung"])


def test_dice_by_image_by_hand():
    target = torch.zeros(3, 1, 4, 4)
    target[0, 0, 0, :2] = 1.0  # 2 pixels, 1 of 3 predicted ones is right: 2 / 5
    target[2] = torch.nan
    output = torch.full_like(target, -5.0)
    output[0, 0, 0, 1] = output[0, 0, 1, :2] = 5.0
    dice = image_dice(TASK, output, target)
    assert dice[0] == pytest.approx(0.4)
    assert bool(torch.isnan(dice[1:]).all())


def test_score_equals_the_metric_of_the_task():
    generator = torch.Generator().manual_seed(0)
    output, target = torch.randn(5, 1, 8, 8, generator=generator), torch.rand(5, 1, 8, 8, generator=generator).round()
    metric = TASK.make_metric()
    metric.update(TASK.activate(output), target)
    assert measure(TASK, output, target)["score"] == pytest.approx(metric.compute()["dice"])


def test_class_metrics_by_hand():
    task = ClassificationTask("finding", ["normal", "pneumonia"], "binary")
    output = torch.tensor([[0.0], [2.0], [-2.0], [9.0]])
    found = measure(task, output, torch.tensor([0.0, 1.0, 0.0, torch.nan]))
    assert found["score"] == 1.0
    expected = (0.693147 + 2 * 0.126928) / 3  # log 2, and twice log(1 + exp(-2))
    assert found["nll"] == pytest.approx(expected, rel=1e-4)


def test_a_task_is_served_by_its_owners():
    def part(lung: float, finding: float) -> Evaluation:
        tasks = {"lung": {"score": lung, "loss": lung}, "finding": {"score": finding, "loss": 1.0}}
        return Evaluation(tasks, {"lung": torch.tensor([lung, torch.nan])}, {"a": {"lung": lung, "finding": finding}})

    one, other = part(0.8, 0.5), part(0.2, 0.9)
    other = Evaluation(other.tasks, other.images, {"b": {"lung": 0.3, "finding": 0.7}})
    owners = {"lung": {"a": 10}, "finding": {"a": 10, "b": 30}}
    rows = {"a": torch.tensor([0]), "b": torch.tensor([1])}
    found = flatten(combine({"a": one, "b": other}, owners, rows), owners)
    for name in ("lung_score", "dice", "best_owner_dice"):
        assert found[name] == pytest.approx(0.8)
    assert found["finding_score"] == pytest.approx(0.25 * 0.5 + 0.75 * 0.9)
    assert found["site_scores"] == pytest.approx({"a": (0.8 + 0.5) / 2, "b": 0.7})  # b annotates no masks
    assert found["image_dice"]["lung"][0] == pytest.approx(0.8)


def test_an_image_is_served_by_the_owners_whose_images_are_like_it():
    """Sites a and b own lungs, with 10 and 30 images; image 2 is like neither's, so both serve it by their shares."""
    dice = {"a": [0.9, 0.1, 0.4], "b": [0.2, 0.7, 0.8]}
    parts = {
        site: Evaluation({"lung": {"score": 0.0, "loss": 0.0}}, {"lung": torch.tensor(values)}, {site: {}})
        for site, values in dice.items()
    }
    rows = {"a": torch.tensor([0]), "b": torch.tensor([1])}
    found = combine(parts, {"lung": {"a": 10, "b": 30}}, rows)
    assert found.images["lung"].tolist() == pytest.approx([0.9, 0.7, 0.25 * 0.4 + 0.75 * 0.8])
    assert found.tasks["lung"]["score"] == pytest.approx((0.9 + 0.7 + 0.7) / 3)
