import numpy as np
import pytest
import torch

from mtmedformer_monai.transforms import StretchContrastd, stretch_contrast


def test_percentiles_by_hand():
    image = torch.linspace(0.3, 0.5, 101).reshape(1, 1, 101)
    stretched = stretch_contrast(image, 10, 90)
    expected = ((image - 0.32) / 0.16).clamp(0, 1)
    torch.testing.assert_close(stretched, expected, atol=1e-5, rtol=0)


def test_padding_does_not_affect_the_contrast(make_item):
    item = make_item(20, 20)
    padded = torch.nn.functional.pad(item["image"].as_tensor(), (50, 50, 0, 0))
    stretched = stretch_contrast(padded)
    torch.testing.assert_close(stretched[..., 50:70], stretch_contrast(item["image"].as_tensor()))
    assert stretched[..., :50].eq(0).all()


def test_brightness_differences_are_removed(make_item):
    image = make_item(30, 30)["image"].as_tensor() * 0.5 + 0.1
    torch.testing.assert_close(stretch_contrast(image * 0.5 + 0.2), stretch_contrast(image), atol=1e-4, rtol=0)


@pytest.mark.parametrize("value", [0.0, 0.4])
def test_a_constant_image_is_unchanged(value):
    image = torch.full((1, 4, 4), value)
    assert stretch_contrast(image) is image


def test_large_images_are_sampled():
    image = torch.rand(1, 3000, 1500)
    stretched = stretch_contrast(image, 25, 75)
    assert (stretched == 0).float().mean() == pytest.approx(0.25, abs=0.01)


def test_transform_keeps_metadata(make_item):
    out = StretchContrastd("image")(make_item(8, 8))["image"]
    np.testing.assert_array_equal(out.meta["to_source"], np.eye(3))
    with pytest.raises(ValueError, match="got 50 and 10"):
        StretchContrastd("image", lower=50, upper=10)
