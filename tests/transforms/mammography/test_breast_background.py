import logging

import numpy as np
import pytest
import torch

from mtmedformer_monai.transforms import CleanBackgroundd, clean_background


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("fog", [0.0, 0.08])
def test_labels_are_removed_and_the_breast_is_unchanged(make_breast, side, fog):
    picture, breast = make_breast(240, 200, "left", 0, fog)
    picture[8:30, 150:190] = 1.0
    if side == "right":
        picture, breast = picture[:, ::-1].copy(), breast[:, ::-1]
    cleaned = clean_background(torch.from_numpy(picture)[None])[0].numpy()
    np.testing.assert_array_equal(cleaned[breast], picture[breast])
    label = np.s_[8:30, 150:190] if side == "left" else np.s_[8:30, 10:50]
    assert cleaned[label].max() == 0.0
    assert (cleaned[~breast] > 0).mean() < 0.12  # the margin along the skin


def test_no_breast():
    assert clean_background(torch.zeros(1, 20, 20)) is None


def test_transform_keeps_metadata(make_breast, make_mammogram):
    item = make_mammogram(make_breast()[0], laterality="L")
    image = CleanBackgroundd("image")(item)["image"]
    assert image.meta["laterality"] == "L"
    np.testing.assert_array_equal(image.meta["to_source"], np.eye(3))
    assert image.shape == item["image"].shape


def test_without_a_breast_the_image_is_unchanged_with_a_warning(make_mammogram, caplog):
    item = make_mammogram(np.zeros((40, 30)))
    with caplog.at_level(logging.WARNING):
        assert CleanBackgroundd("image")(item)["image"] is item["image"]
    assert caplog.messages == ["a.dcm: no breast was found, so its background is not cleaned."]


def test_negative_margin():
    with pytest.raises(ValueError, match="margin expects"):
        CleanBackgroundd("image", margin=-1)
