from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtmedformer_monai.transforms import Letterboxd
from mtmedformer_monai.transforms.geometry.affine import as_affine, compose, index_affine, invert, map_boxes
from mtmedformer_monai.transforms.geometry.letterbox import content_size, letterbox_map
from mtmedformer_monai.transforms.geometry.restore import restore_boxes

KEYS = ("image", "map", "boxes", "label")
SIDE = st.integers(1, 5000)


@pytest.fixture
def make_item(make_item):
    """Returns the factory with square pixels by default."""
    return partial(make_item, spacing=(0.1, 0.1))


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [((300, 200), (128, 96), (128, 85)), ((10, 20), (64, 64), (32, 64)), ((5000, 1), (8, 8), (8, 1))],
)
def test_content_size(shape, size, expected):
    assert content_size(shape, size) == expected


@given(SIDE, SIDE, st.integers(1, 600), st.integers(1, 600))
def test_the_whole_image_maps_to_whole_pixels_inside_the_canvas(height, width, rows, columns):
    box = map_boxes(
        torch.tensor([[0.0, 0, width, height]], dtype=torch.float64),
        invert(letterbox_map((height, width), (rows, columns))),
    )[0]
    np.testing.assert_allclose(box, np.round(box), atol=1e-6)
    assert box[0] >= -1e-6
    assert box[1] >= -1e-6
    assert box[2] <= columns + 1e-6
    assert box[3] <= rows + 1e-6
    touches_rows, touches_columns = round(float(box[3] - box[1])) == rows, round(float(box[2] - box[0])) == columns
    assert touches_rows or touches_columns


def test_aspect_ratio_and_central_padding(make_item):
    item = Letterboxd(KEYS, (40, 40))(make_item(20, 10))
    assert item["image"].shape == (1, 40, 40)
    assert item["image"][..., :10].abs().max() == 0
    assert item["image"][..., 30:].abs().max() == 0
    assert item["image"][..., 10:30].min() > 0
    np.testing.assert_allclose(item["image"].meta["to_source"], [[0.5, 0, -5], [0, 0.5, 0], [0, 0, 1]])
    assert item["boxes"][0].tolist() == [10, 0, 30, 40, 0]
    assert item["boxes"][2:].eq(-1).all()
    assert item["label"] == 1


@pytest.mark.parametrize(
    ("turned", "spacing", "content"),
    [
        pytest.param(False, (0.2, 0.1), (40, 20), id="rows twice as far apart"),
        pytest.param(True, (0.1, 0.2), (40, 20), id="columns twice as far apart, then turned by 90 degrees"),
        pytest.param(False, (0.1, 0.1005), (40, 40), id="within 1 %"),
        pytest.param(False, (np.nan, np.nan), (40, 40), id="unknown"),
    ],
)
def test_pixels_of_the_canvas_are_square(make_item, turned, spacing, content):
    item = make_item(20, 20)
    if turned:
        item["image"].meta["to_source"] = np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, 1]])
    to_source = as_affine(item["image"].meta["to_source"])
    item["image"].meta["spacing_mm"] = np.array(spacing)
    item["image"].affine = torch.from_numpy(index_affine(to_source, np.array(spacing)))
    boxes = item["boxes"].clone()
    after = Letterboxd(KEYS, 40)(item)
    height, width = content
    assert after["image"][0].amax(dim=0).gt(0).sum() == width
    assert after["image"][0].amax(dim=1).gt(0).sum() == height
    left = (40 - width) / 2
    expected = boxes[0, :4] * torch.tensor([width, height, width, height]) / 20 + torch.tensor([left, 0, left, 0])
    torch.testing.assert_close(after["boxes"][0, :4], expected)
    back = restore_boxes(after["boxes"][:1], as_affine(after["image"].meta["to_source"]))
    source = boxes[:1, [1, 0, 3, 2]] if turned else boxes[:1, :4]
    torch.testing.assert_close(back[:, :4], source)


def test_masks_are_enlarged_by_whole_pixels_and_nan_channels_are_kept(make_item):
    before = make_item(20, 10)
    after = Letterboxd(KEYS, 40)(before)["map"]
    np.testing.assert_array_equal(after[0, ::2, 10:30:2], before["map"][0])
    assert after[0, :, :10].eq(0).all()
    assert torch.isnan(after[1]).all()


def test_a_lesion_under_a_pixel_is_kept(make_item):
    """It covers source pixels 0 to 2 of 80, of which the sampled ones are 4, 12, ..."""
    item = make_item(80, 80)
    item["map"][0] = 0.0
    item["map"][0, 0:3, 0:3] = 1.0
    item["boxes"] = torch.tensor([[0.0, 0, 3, 3, 0]])
    out = Letterboxd(KEYS, 10)(item)
    assert torch.nonzero(out["map"][0]).tolist() == [[0, 0]]
    assert out["boxes"].tolist() == [[0, 0, 1, 1, 0]]


def test_same_size_changes_nothing(make_item):
    before = make_item(16, 16)
    after = Letterboxd(KEYS, 16)(before)
    np.testing.assert_array_equal(after["image"], before["image"])
    np.testing.assert_array_equal(after["image"].meta["to_source"], np.eye(3))


def test_affine_follows(make_item):
    image = Letterboxd("image", 10)(make_item(20, 20))["image"]
    np.testing.assert_allclose(np.diag(image.affine)[:2], [0.2, 0.2])  # mm per pixel, twice as large as in the source
    np.testing.assert_array_equal(image.affine, image.meta["affine"])
    np.testing.assert_allclose(np.diag(image.meta["original_affine"])[:2], [0.1, 0.1])


def test_to_source_is_composed(make_item):
    once = Letterboxd("image", 12)(Letterboxd("image", (30, 24))(make_item(20, 10)))["image"]
    expected = compose(letterbox_map((20, 10), (30, 24)), letterbox_map((30, 24), (12, 12)))
    np.testing.assert_allclose(once.meta["to_source"], expected)


def test_stays_in_range(make_item):
    image = Letterboxd("image", 7)(make_item(50, 61))["image"]
    assert image.min() >= 0.0
    assert image.max() <= 1.0


def test_errors(make_item):
    with pytest.raises(ValueError, match="size expects whole numbers above 0, got 0"):
        Letterboxd("image", 0)
    with pytest.raises(ValueError, match=r"a target has \(3, 3\) pixels, its image \(20, 10\)"):
        Letterboxd(("image", "map"), 8)({**make_item(20, 10), "map": torch.zeros(1, 3, 3)})


def test_targets_may_be_missing(make_item):
    assert set(Letterboxd(KEYS, 8)({"image": make_item(4, 4)["image"]})) == {"image"}
