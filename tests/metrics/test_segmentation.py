import math

import pytest
import torch
from monai.metrics import DiceMetric

from mtmedformer_monai.metrics import SegmentationMetric


def square(size: int = 16, *, at: int = 4, side: int = 6) -> torch.Tensor:
    mask = torch.zeros(size, size)
    mask[at : at + side, at : at + side] = 1
    return mask


def test_metrics_by_hand():
    # Truth: 6 x 6 = 36 pixels. Prediction: the same square moved right by 2: overlap 6 x 4 = 24.
    true, predicted = square(), torch.roll(square(), 2, dims=1)
    metric = SegmentationMetric(["lung"])
    metric.update(predicted[None, None], true[None, None])
    metrics = metric.compute()
    assert metrics["dice"] == pytest.approx(2 * 24 / 72)
    assert metrics["dice_pooled"] == pytest.approx(2 * 24 / 72)
    assert metrics["hausdorff95"] == pytest.approx(2.0)


def test_empty_truth_counts_in_the_pool_alone():
    empty = torch.zeros(16, 16)
    metric = SegmentationMetric(["opacity"])
    metric.update(torch.stack([square(), square(side=2)])[:, None], torch.stack([square(), empty])[:, None])
    metrics = metric.compute()
    assert metrics["dice"] == pytest.approx(1.0)
    assert metrics["dice_pooled"] == pytest.approx(2 * 36 / (72 + 4))
    assert metrics["hausdorff95"] == pytest.approx(0.0)


def test_missing_channels_contribute_nothing():
    missing = torch.full((16, 16), torch.nan)
    probs = torch.stack([torch.stack([square(), square()]), torch.stack([square(at=8), square()])])
    target = torch.stack([torch.stack([square(), missing]), torch.stack([missing, missing])])
    metric = SegmentationMetric(["lung", "heart"])
    metric.update(probs, target)
    metrics = metric.compute()
    assert metrics["dice_lung"] == 1.0
    assert metrics["dice"] == 1.0
    assert math.isnan(metrics["dice_heart"])
    assert math.isnan(metrics["dice_pooled_heart"])


def test_a_missing_pixel_is_left_out():
    # Truth: 6 x 6 in rows and columns 4 to 9; its first two columns are hidden, so 6 x 4 = 24 are known. Prediction:
    # everything, so 256 - 12 pixels are known.
    true = square()
    true[4:10, 4:6] = torch.nan
    metric = SegmentationMetric(["lung"], hausdorff=False)
    metric.update(torch.ones(1, 1, 16, 16), true[None, None])
    metrics = metric.compute()
    assert metrics["dice"] == pytest.approx(2 * 24 / (24 + 244))
    assert metrics["dice_pooled"] == pytest.approx(2 * 24 / (24 + 244))
    assert metrics["cases"] == 1


def test_batches_add_up_and_reset_forgets():
    torch.manual_seed(0)
    probs, target = torch.rand(4, 2, 12, 12), (torch.rand(4, 2, 12, 12) > 0.5).float()
    whole, parts = SegmentationMetric(["a", "b"]), SegmentationMetric(["a", "b"])
    parts.update(target, probs.round())
    parts.reset()
    whole.update(probs, target)
    for i in range(4):
        parts.update(probs[i : i + 1], target[i : i + 1])
    assert parts.compute() == pytest.approx(whole.compute())


def test_agrees_with_monai():
    torch.manual_seed(1)
    probs, target = torch.rand(5, 3, 10, 10), (torch.rand(5, 3, 10, 10) > 0.7).float()
    target[2, 1] = 0
    metric, theirs = SegmentationMetric(["a", "b", "c"], threshold=0.6, hausdorff=False), DiceMetric()
    metric.update(probs, target)
    theirs((probs >= 0.6).float(), target)
    metrics, per_structure = metric.compute(), theirs.aggregate("mean_batch")
    assert [metrics["dice_a"], metrics["dice_b"], metrics["dice_c"]] == pytest.approx(per_structure.tolist())
    assert "hausdorff95" not in metrics


def test_nothing_seen_is_nan():
    metrics = SegmentationMetric(["a"]).compute()
    assert metrics.pop("cases") == 0
    assert all(math.isnan(value) for value in metrics.values())


def test_cases_are_the_true_masks():
    metric = SegmentationMetric(["lung"])
    target = torch.zeros(4, 1, 8, 8)
    target[:2, :, 2:5] = 1.0
    target[3] = torch.nan
    metric.update(target.nan_to_num(), target)
    assert metric.compute()["cases"] == 2


def test_wrong_channels_are_refused():
    with pytest.raises(ValueError, match=r"expect \(B, 1, H, W\).*\(2, 2, 8, 8\)"):
        SegmentationMetric(["lung"]).update(torch.zeros(2, 2, 8, 8), torch.zeros(2, 2, 8, 8))
