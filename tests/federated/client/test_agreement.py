import pytest
import torch
from monai.metrics import DiceMetric

from mtmedformer_monai.federated.client.agreement import box_agreement, mask_agreement
from mtmedformer_monai.metrics.detection import Boxes


def boxes(*rows, classes=None):
    return Boxes(
        torch.tensor(rows, dtype=torch.float32).reshape(-1, 4),
        torch.ones(len(rows)),
        torch.tensor(classes or [0] * len(rows)),
    )


def test_masks_agree_by_their_dice():
    first, second = (torch.rand(3, 2, 8, 8, generator=torch.Generator().manual_seed(seed)) > 0.5 for seed in (0, 1))
    expected = DiceMetric(include_background=True, reduction="none")(first.float(), second.float())
    torch.testing.assert_close(mask_agreement(first, second), expected)


def test_two_empty_masks_agree_and_an_empty_one_differs_from_any_other():
    empty, some = torch.zeros(1, 1, 2, 2).bool(), torch.ones(1, 1, 2, 2).bool()
    assert mask_agreement(empty, empty).item() == 1.0
    assert mask_agreement(empty, some).item() == 0.0


A, B, SHIFTED = (0, 0, 10, 10), (20, 20, 30, 30), (0, 0, 10, 8)
"""The intersection over union of A and SHIFTED is 0.8."""


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (boxes(), boxes(), 1.0),
        (boxes(A), boxes(), 0.0),
        (boxes(A, B), boxes(B, A), 1.0),
        (boxes(A, B), boxes(SHIFTED), 2 / 3),
        (boxes(A), boxes(A, classes=[1]), 0.0),
        (boxes(A), boxes(A, SHIFTED), 2 / 3),
    ],
    ids=["none", "one missing", "any order", "two of three", "another class", "a box is matched once"],
)
def test_boxes_agree_by_the_share_that_is_matched(first, second, expected):
    assert box_agreement(first, second, 0.8) == pytest.approx(expected)
    assert box_agreement(second, first, 0.8) == pytest.approx(expected)


def test_boxes_with_less_overlap_are_not_matched():
    assert box_agreement(boxes(A), boxes(SHIFTED), 0.81) == 0.0


def test_the_number_of_matches_is_largest():
    """The first box overlaps with both others; matched with the nearer one, it would leave the second alone."""
    first, second = boxes((0, 0, 10, 10), (0, 0, 10, 7)), boxes((0, 0, 10, 9), (0, 0, 10, 15))
    assert box_agreement(first, second, 0.6) == 1.0
