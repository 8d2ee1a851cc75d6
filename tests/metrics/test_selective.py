import numpy as np
import pytest
import torch

from mtmedformer_monai.metrics.selective import (
    SelectiveMetric,
    area_under_risk_coverage,
    class_confidence,
    class_risk,
    mask_confidence,
    mask_risk,
    risk_coverage,
)


def metrics_of(confidence, risk, *sizes):
    metric = SelectiveMetric()
    for part in zip(torch.tensor(confidence).split(sizes), torch.tensor(risk).split(sizes), strict=True):
        metric.update(*part)
    return metric.compute()


def test_by_hand():
    coverage, kept = risk_coverage(np.array([0.6, 0.9, 0.7, 0.8]), np.array([1.0, 0.0, 0.0, 1.0]))
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert kept == pytest.approx([0.0, 1 / 2, 1 / 3, 2 / 4])
    found = metrics_of([0.6, 0.9, 0.7, 0.8], [1.0, 0.0, 0.0, 1.0], 1, 3)
    assert found["aurc"] == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert found["aurc_excess"] == pytest.approx(found["aurc"] - (0 + 0 + 1 / 3 + 1 / 2) / 4)
    assert found["risk"] == 0.5
    assert found["risk_at_80"] == 0.5  # 3.2 images, rounded up to 4
    assert found["cases"] == 4


def test_equal_confidence_equals_a_random_order():
    risk = np.array([1.0, 0.0, 0.0, 1.0, 1.0])
    assert area_under_risk_coverage(np.full(5, 0.5), risk) == pytest.approx(0.6)
    assert area_under_risk_coverage(np.array([0.9, 0.5, 0.5, 0.5, 0.9]), risk) == pytest.approx(
        area_under_risk_coverage(np.array([0.9, 0.5, 0.5, 0.5, 0.9]), risk[[4, 3, 2, 1, 0]])
    )


def test_a_perfect_order_has_no_excess_and_batches_do_not_matter():
    rng = np.random.default_rng(0)
    risk = rng.random(50)
    whole, parts = metrics_of(-risk, risk, 50), metrics_of(-risk, risk, 7, 20, 23)
    assert whole == parts
    assert whole["aurc_excess"] == pytest.approx(0.0)
    assert metrics_of(risk, risk, 50)["aurc"] > whole["risk"] > whole["aurc"]


def test_images_that_are_not_annotated_are_left_out():
    with_gap = metrics_of([0.9, 0.1, 0.5], [0.0, torch.nan, 1.0], 3)
    assert with_gap == metrics_of([0.9, 0.5], [0.0, 1.0], 2)
    nothing = metrics_of([0.9], [torch.nan], 1)
    assert nothing["cases"] == 0
    assert np.isnan(nothing["aurc"])


def test_different_shapes_are_refused():
    with pytest.raises(ValueError, match=r"equal shapes and no confidence of NaN, got \(2,\) and \(3,\)"):
        SelectiveMetric().update(torch.zeros(2), torch.zeros(3))


def test_risk_and_confidence_of_classes():
    probs = torch.tensor([[0.7, 0.3], [0.4, 0.6], [0.2, 0.8]])
    assert class_confidence(probs).tolist() == pytest.approx([0.7, 0.6, 0.8])
    assert torch.equal(
        class_risk(probs, torch.tensor([0.0, 0.0, torch.nan])).nan_to_num(9.0), torch.tensor([0.0, 1.0, 9.0])
    )


def test_risk_and_confidence_of_masks():
    target = torch.zeros(4, 1, 2, 2)
    target[0, 0, 0] = 1  # two pixels, one of them found
    target[3] = torch.nan
    probs = torch.full((4, 1, 2, 2), 0.1)
    probs[0, 0, 0, 0] = 0.8
    probs[1, 0, 0, 0] = 0.6  # the structure is absent
    assert mask_risk(probs, target)[:, 0].nan_to_num(9.0).tolist() == pytest.approx([1 - 2 / 3, 1.0, 0.0, 9.0])
    expected = [2 * 0.8 / (1 + 1.1), 2 * 0.6 / (1 + 0.9), 1 - 0.1, 1 - 0.1]
    assert mask_confidence(probs)[:, 0].tolist() == pytest.approx(expected)
