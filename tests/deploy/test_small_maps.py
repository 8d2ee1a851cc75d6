"""Reduced images and maps in steps, by values computed by hand."""

import numpy as np

from mtmedformer_monai.deploy.results import ImageMaps
from mtmedformer_monai.deploy.small_maps import DRAWING_SIDE, reduce, reduce_maps, to_steps


def test_steps_are_those_of_rounding_across_blocks():
    values = np.linspace(0, 1, 3 * 70_000, dtype=np.float32).reshape(3, -1)
    np.testing.assert_array_equal(to_steps(values), np.floor(values.astype(np.float64) * 255 + 0.5))


def test_values_outside_the_range_are_clipped_wherever_they_are():
    values = np.full((2, 80_000), 0.5, dtype=np.float32)
    values[1, -4:] = [np.nan, -np.inf, np.inf, 2.0]
    assert to_steps(values)[1, -5:].tolist() == [128, 0, 0, 255, 255]


def test_a_reduced_pixel_is_the_mean_of_its_block():
    values = np.arange(4 * 8, dtype=np.float32).reshape(4, 8)
    expected = values.reshape(2, 2, 4, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(reduce(values, 4), expected)


def test_a_pixel_of_a_reduced_mask_needs_half_of_its_area():
    mask = np.zeros((1, 2 * DRAWING_SIDE, 4), dtype=bool)
    mask[0, :2, 0] = True  # half of the first block
    mask[0, 4, 0] = True  # a quarter of the third
    small = reduce_maps(np.zeros(mask.shape[1:], dtype=np.float32), {"lung": mask}).masks["lung"][0]
    assert small.shape == (DRAWING_SIDE, 2)
    assert small[:, 0].nonzero()[0].tolist() == [0]


def test_reduced_maps_are_computed_once():
    maps = ImageMaps(np.zeros((4, 4), dtype=np.float32), probabilities={"lung": np.ones((1, 4, 4), dtype=np.float32)})
    assert maps.small is maps.small
    assert maps.steps["lung"] is maps.steps["lung"]
    assert maps.steps["lung"].min() == 255
