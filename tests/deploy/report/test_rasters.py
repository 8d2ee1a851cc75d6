"""Encoded layers, decoded again by Pillow."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from mtmedformer_monai.deploy.report.rasters import encode_heat, encode_mask, encode_picture


def rgba(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGBA"))


def test_a_mask_is_an_opaque_outline_around_a_translucent_area():
    mask = np.zeros((40, 30), dtype=bool)
    mask[10:20, 5:25] = True
    pixels = rgba(encode_mask(mask, "#0a1420"))
    expected = np.zeros((40, 30), dtype=bool)
    expected[10:20, 5:25] = True
    expected[11:19, 6:24] = False  # one pixel wide
    np.testing.assert_array_equal(pixels[..., 3] == 255, expected)
    np.testing.assert_array_equal(pixels[..., 3] > 0, mask)
    assert pixels[10, 5, :3].tolist() == [10, 20, 32]


def test_a_mask_that_touches_the_edge_of_the_image_has_an_outline_there():
    assert rgba(encode_mask(np.ones((9, 9), dtype=bool), "#ffffff"))[0, :, 3].min() == 255


def test_a_heat_map_is_transparent_at_low_values_and_more_opaque_at_higher_ones():
    values = np.array([[0.0, 0.25, 0.5, 1.0, np.nan]], dtype=np.float32)
    alpha = rgba(encode_heat(values, 1.0, "inferno"))[0, :, 3].astype(int)
    assert alpha[0] == alpha[4] == 0
    assert 0 < alpha[1] < alpha[2] <= alpha[3] < 255


def test_a_large_picture_is_reduced_and_keeps_its_brightness():
    image = Image.open(io.BytesIO(encode_picture(np.full((3000, 1500), 128, dtype=np.uint8), 1000)))
    assert image.size == (500, 1000)
    assert abs(float(np.asarray(image).mean()) - 127.5) < 1.0
