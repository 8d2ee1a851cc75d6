import math
from functools import partial

import numpy as np
import pytest
import torch

from mtmedformer_monai.metrics import DetectionMetric
from mtmedformer_monai.tasks import decode_boxes

LEFT, RIGHT = [0.0, 0, 10, 10], [20.0, 0, 30, 10]


def dense(*rows: tuple[list[float], float], num_classes: int = 1, k: int = 0) -> torch.Tensor:
    """Rows of (box, score) of class k to (1, A, 7 + K)."""
    output = torch.zeros(1, max(len(rows), 1), 7 + num_classes)
    for i, (box, score) in enumerate(rows):
        output[0, i, :4], output[0, i, 7 + k] = torch.tensor(box), score
    return output


def boxes(*rows: list[float], k: int = 0, size: int = 3) -> torch.Tensor:
    """True boxes of class k to (1, N, 5)."""
    target = torch.full((1, size, 5), -1.0)
    for i, row in enumerate(rows):
        target[0, i] = torch.tensor([*row, k])
    return target


def test_by_hand():
    metric = DetectionMetric(["opacity"], decode_boxes)
    metric.update(dense((LEFT, 0.9), (RIGHT, 0.8)), boxes(LEFT))  # a hit, then a false positive
    metric.update(dense((RIGHT, 0.7)), boxes(RIGHT))  # a hit
    metrics = metric.compute()
    assert metrics["ap"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    # Curve over 2 images: (0, 1/2), (1/2, 1). At 1/4 false positives it is 1/2: the 1/2 to 1 step stands at 1/2.
    assert metrics["froc"] == pytest.approx((0.5 + 5 * 1.0) / 6)


def test_one_true_box_is_claimed_once():
    metric = DetectionMetric(["opacity"], partial(decode_boxes, nms_iou=0.95))
    metric.update(dense((LEFT, 0.9), ([0.0, 0, 10, 9], 0.8)), boxes(LEFT, RIGHT))
    assert metric.compute()["ap"] == pytest.approx(0.5)


def test_overlap_threshold_decides():
    shifted = [0.0, 0, 10, 4]  # overlap 40 of 100
    for iou, expected in ((0.3, 1.0), (0.5, 0.0)):
        metric = DetectionMetric(["opacity"], decode_boxes, iou_threshold=iou)
        metric.update(dense((shifted, 0.9)), boxes(LEFT))
        assert metric.compute()["ap"] == expected
    both = DetectionMetric(["opacity"], decode_boxes, iou_threshold=(0.3, 0.5))
    both.update(dense((shifted, 0.9)), boxes(LEFT))
    froc = {"froc": 0.5, "froc_0.3": 1.0, "froc_0.5": 0.0}
    assert both.compute() == {"ap": 0.5, "ap_0.3": 1.0, "ap_0.5": 0.0, **froc, "cases": 1}


def test_image_without_annotation_is_left_out_and_empty_one_counts():
    hit = dense((LEFT, 0.5)), boxes(LEFT)
    false_alarm = dense((RIGHT, 0.9))
    unannotated, empty = DetectionMetric(["opacity"], decode_boxes), DetectionMetric(["opacity"], decode_boxes)
    for metric, target in ((unannotated, torch.full((1, 3, 5), torch.nan)), (empty, boxes())):
        metric.update(*hit)
        metric.update(false_alarm, target)
    assert unannotated.compute()["ap"] == 1.0
    assert empty.compute()["ap"] == pytest.approx(0.5)


def test_classes_are_independent():
    metric = DetectionMetric(["mass", "nodule"], decode_boxes)
    metric.update(dense((LEFT, 0.9), num_classes=2, k=0), boxes(LEFT, k=1))
    metrics = metric.compute()
    assert math.isnan(metrics["ap_mass"])  # there is no ground-truth box
    assert metrics["ap_nodule"] == metrics["ap"] == 0.0


def test_agrees_with_brute_force():
    rng = np.random.default_rng(0)
    metric, all_detections, num_targets = (
        DetectionMetric(["x"], partial(decode_boxes, nms_iou=1.0), iou_threshold=0.4),
        [],
        0,
    )
    for image in range(6):
        truth, found = random_boxes(rng, 3), random_boxes(rng, 8)
        scores = rng.random(8) * 0.9 + 0.1
        metric.update(dense(*zip(found, scores, strict=True)), boxes(*truth))
        num_targets += 3
        all_detections += [(s, image, box, truth) for s, box in zip(scores, found, strict=True)]
    expected = brute_force_ap(sorted(all_detections, key=lambda d: -d[0]), num_targets, 0.4)
    assert 0.05 < expected < 0.95
    assert metric.compute()["ap"] == pytest.approx(expected)


def test_nothing_annotated_is_nan():
    metric = DetectionMetric(["x"], decode_boxes)
    metric.update(dense((LEFT, 0.9)), torch.full((1, 3, 5), torch.nan))
    metrics = metric.compute()
    assert metrics.pop("cases") == 0
    assert all(math.isnan(value) for value in metrics.values())


def test_an_invalid_target_is_refused():
    with pytest.raises(ValueError, match=r"target expects \(B, N, 5\).*\(1, 3, 4\)"):
        DetectionMetric(["x"], decode_boxes).update(dense((LEFT, 0.9)), torch.zeros(1, 3, 4))


def random_boxes(rng: np.random.Generator, count: int) -> list[list[float]]:
    corners = rng.integers(0, 8, (count, 2))
    return [[float(x), float(y), float(x + 8), float(y + 8)] for x, y in corners]


def brute_force_ap(detections, num_targets: int, threshold: float) -> float:
    """Processes the detections of all images in descending order of scores, following the definition."""
    taken, hits, points = set(), 0, []
    for rank, (_, image, box, truth) in enumerate(detections, start=1):
        free = [(iou(box, t), j) for j, t in enumerate(truth) if (image, j) not in taken]
        best, j = max(free, default=(0.0, -1))
        if best >= threshold:
            taken.add((image, j))
            hits += 1
        points.append((hits / num_targets, hits / rank))
    return sum(max((p for r, p in points if r >= k / num_targets), default=0.0) for k in range(1, num_targets + 1)) / (
        num_targets
    )


def iou(a: list[float], b: list[float]) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    return width * height / (128 - width * height)
