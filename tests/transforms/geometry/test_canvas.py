import numpy as np
import pytest
import torch

from mtmedformer_monai.transforms.geometry.affine import scaling, translation
from mtmedformer_monai.transforms.geometry.canvas import image_of, is_boxes, is_map, move_boxes

NAN = float("nan")


def test_unused_rows_and_nan_are_not_touched():
    boxes = torch.tensor([[0.0, 0, 4, 4, 1], [-1, -1, -1, -1, -1], [NAN] * 5])
    moved = move_boxes(boxes, scaling(2, 2), (20, 20))
    assert moved[0].tolist() == [0, 0, 8, 8, 1]
    assert moved[1].tolist() == [-1] * 5
    assert torch.isnan(moved[2]).all()


@pytest.mark.parametrize(
    ("shift", "expected"),
    [
        pytest.param(2, [2, 0, 10, 10, 0], id="inside"),
        pytest.param(13, [13, 0, 20, 10, 0], id="seven tenths left: clipped"),
        pytest.param(18, [-1] * 5, id="two tenths left: dropped"),
        pytest.param(50, [-1] * 5, id="outside"),
    ],
)
def test_clipping(shift, expected):
    boxes = torch.tensor([[0.0, 0, 8 if shift == 2 else 10, 10, 0]])
    assert move_boxes(boxes, translation(shift, 0), (20, 20)).tolist() == [expected]


def test_boxes_under_a_pixel_are_dropped():
    boxes = torch.tensor([[0.0, 0, 10, 10, 0]])
    assert move_boxes(boxes, scaling(0.09, 1), (20, 20)).tolist() == [[-1] * 5]


def test_rank_determines_the_target_type():
    assert is_map(torch.zeros(2, 3, 4))
    assert is_boxes(torch.zeros(9, 5))
    for other in (torch.zeros(5), torch.zeros(()), torch.zeros(9, 4), np.zeros((9, 5)), "a"):
        assert not is_map(other)
        assert not is_boxes(other)


def test_image_without_metadata():
    with pytest.raises(ValueError, match="expected under 'image'; put LoadRadiographd first"):
        image_of({"image": torch.zeros(1, 2, 2)}, "image")
