import logging

import numpy as np
import pytest
import torch

from mtmedformer_monai.transforms import CropBreastd, crop_item, find_breast_box

KEYS = ("image", "map", "boxes", "label")


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(("border", "fog"), [(0, 0.0), (25, 0.08)])
def test_the_box_contains_the_whole_breast_and_little_else(make_breast, side, border, fog):
    picture, breast = make_breast(200, 180, side, border, fog)
    x1, y1, x2, y2 = find_breast_box(torch.from_numpy(picture)[None], margin=0.02)
    assert breast[y1:y2, x1:x2].sum() == breast.sum()
    rows, columns = np.flatnonzero(breast.any(1)), np.flatnonzero(breast.any(0))
    slack = 0.02 * 200 + 6  # the margin and the precision of the mask
    assert rows[0] - y1 <= slack
    assert y2 - rows[-1] - 1 <= slack
    assert columns[0] - x1 <= slack
    assert x2 - columns[-1] - 1 <= slack


def test_a_large_image(make_breast):
    picture, breast = make_breast(1500, 1100, "right")
    x1, y1, x2, y2 = find_breast_box(torch.from_numpy(picture)[None], margin=0.0)
    assert breast[y1:y2, x1:x2].sum() == breast.sum()
    assert (y2 - y1) * (x2 - x1) < 0.65 * picture.size


def test_item_by_hand(make_item):
    item = make_item(8, 6)
    out = crop_item(item, (1, 2, 5, 7), KEYS)
    np.testing.assert_array_equal(out["image"], item["image"][:, 2:7, 1:5])
    np.testing.assert_array_equal(out["map"], item["map"][:, 2:7, 1:5])
    assert out["boxes"][1].tolist() == [0.5, 0, 3.5, 2, 1]
    np.testing.assert_array_equal(out["image"].meta["to_source"], [[1, 0, 1], [0, 1, 2], [0, 0, 1]])
    assert out["label"] == item["label"]


def test_boxes_outside_the_crop_are_dropped(make_item):
    item = {**make_item(8, 6), "boxes": torch.tensor([[0.0, 0, 3, 2, 0], [4, 4, 6, 8, 0]])}
    boxes = crop_item(item, (3, 0, 6, 8), KEYS)["boxes"]
    assert boxes.tolist() == [[-1] * 5, [1, 4, 3, 8, 0]]


def test_transform(make_breast, make_mammogram):
    picture, breast = make_breast(160, 140, "left", 20)
    item = {**make_mammogram(picture), "map": torch.from_numpy(breast.astype(np.float32))[None]}
    out = CropBreastd(("image", "map"))(item)
    assert out["map"].sum() == breast.sum()
    assert out["image"].shape == out["map"].shape
    assert out["image"].shape[-1] < 120


def test_without_a_breast_the_image_is_unchanged_with_a_warning(make_mammogram, caplog):
    item = make_mammogram(np.zeros((40, 30)))
    crop = CropBreastd("image")
    with caplog.at_level(logging.WARNING):
        assert crop(item)["image"] is item["image"]
        crop(item)
    assert caplog.messages == ["a.dcm: no breast was found, so it is not cropped."]


def test_negative_margin():
    with pytest.raises(ValueError, match="margin expects a fraction of the longer side, 0 or more, got -"):
        CropBreastd("image", margin=-0.1)
