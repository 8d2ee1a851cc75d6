import numpy as np
import pytest
import torch
from scipy import ndimage

from mtmedformer_monai.transforms.geometry.affine import scaling, translation
from mtmedformer_monai.transforms.geometry.canvas import image_of, is_boxes, is_map, move_boxes, move_map

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


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        pytest.param([100, 40, 104, 80], [9.7, 4, 10.7, 8], id="0.4 pixels wide: widened around its middle"),
        pytest.param([0, 0, 4, 4], [0, 0, 1, 1], id="first corner"),
        pytest.param([196, 198, 200, 202], [19, 19, 20, 20], id="last corner: inside the canvas"),
    ],
)
def test_boxes_under_a_pixel_are_widened(box, expected):
    boxes = torch.tensor([[*map(float, box), 3.0]])
    torch.testing.assert_close(move_boxes(boxes, scaling(0.1, 0.1), (20, 20)), torch.tensor([[*expected, 3.0]]))


def sample_tenth(values):
    """Of 40 x 40 pixels, samples those at indices 5, 15, 25 and 35."""
    return values[:, 5::10, 5::10].clone()


def test_structures_that_resampling_skips_keep_their_nearest_pixel():
    old = torch.zeros(4, 40, 40)
    old[0, 1, 37] = old[0, 30:32, 2] = 1.0  # both skipped, and below half a pixel
    old[1, 0:9, 0:9] = 1.0  # sampled at 5
    old[1, 16:25, 26:32] = 1.0  # 54 hundredths of a pixel, skipped beside it
    old[1, 36:40, 0:5] = old[1, 38, 38] = 1.0  # specks
    old[3] = NAN
    moved = move_map(old, scaling(0.1, 0.1), sample_tenth)
    expected = torch.zeros(4, 4, 4)
    expected[0, 3, 0] = expected[1, 0, 0] = expected[1, 2, 2] = 1.0
    expected[3] = NAN
    np.testing.assert_array_equal(moved, expected)


def test_parts_that_touch_at_a_corner_are_one_structure():
    old = torch.zeros(1, 40, 40)
    old[0, 0:10, 0:10] = old[0, 10, 10] = 1.0
    assert torch.nonzero(move_map(old, scaling(0.1, 0.1), sample_tenth)).tolist() == [[0, 0, 0]]


def test_structures_outside_the_canvas_remain_absent():
    old = torch.zeros(1, 4, 4)
    old[0, 1, 0] = 1.0
    to_new = translation(-2, 0) @ scaling(0.5, 0.5)
    assert move_map(old, to_new, lambda values: torch.zeros(1, 4, 4, dtype=values.dtype)).eq(0).all()


def test_enlarged_masks_are_not_searched(monkeypatch):
    monkeypatch.setattr(ndimage, "label", None)
    old = torch.eye(3)[None]
    assert torch.equal(move_map(old, scaling(2, 2), lambda values: values.clone()), old)


def test_rank_determines_the_target_type():
    assert is_map(torch.zeros(2, 3, 4))
    assert is_boxes(torch.zeros(9, 5))
    for other in (torch.zeros(5), torch.zeros(()), torch.zeros(9, 4), np.zeros((9, 5)), "a"):
        assert not is_map(other)
        assert not is_boxes(other)


def test_image_without_metadata():
    with pytest.raises(ValueError, match="expected under 'image'; put LoadRadiographd first"):
        image_of({"image": torch.zeros(1, 2, 2)}, "image")
