from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from mtmedformer_monai.data.synthetic.chest.phantom import draw_patient, heart_distance, make_grid
from mtmedformer_monai.data.synthetic.chest.varied_phantom import draw_varied_patient, enhance, make_varied_chest

SHAPE = (96, 90)


def make(seed, **changes):
    rng = np.random.default_rng(seed)
    patient = replace(draw_varied_patient(rng), **changes)
    x, y = make_grid(SHAPE, patient)
    lungs, field = make_varied_chest(x, y, patient, rng)
    return lungs, field, heart_distance(x, y, patient) > 0, (x, y)


@pytest.mark.parametrize("seed", range(6))
def test_one_lung_per_side_that_is_whole_behind_the_heart(seed):
    lungs, _, heart, (x, _) = make(seed)
    right, left = lungs.masks  # the patient's right lung is at the image's left
    assert x[right].max() < x[left].min()
    assert [ndimage.label(mask)[1] for mask in (right, left)] == [1, 1]
    assert not (right & left).any()
    assert (left & heart).sum() > 0.02 * left.sum()


@pytest.mark.parametrize("seed", range(6))
def test_opacities_may_lie_beside_heart_and_mediastinum(seed):
    lungs, _, heart, (x, _) = make(seed)
    assert not (lungs.free & heart).any()
    for mask in lungs.masks:
        assert 0.3 * mask.sum() < (mask & lungs.free).sum() < mask.sum()
        assert np.abs(x[mask & lungs.free]).mean() > np.abs(x[mask & ~lungs.free]).mean()


@pytest.mark.parametrize("seed", range(6))
def test_the_field_is_finite_and_not_negative(seed):
    _, field, _, _ = make(seed)
    assert field.shape == SHAPE
    assert field.dtype == np.float32
    assert np.isfinite(field).all()
    assert field.min() >= 0


@pytest.mark.parametrize("seed", range(6))
def test_lungs_are_darker_than_what_is_beside_them_from_the_border_on(seed):
    lungs, field, heart, _ = make(seed, zoom=1.0, shift=(0.0, 0.0))
    inside = lungs.mask & ~ndimage.binary_erosion(lungs.mask, iterations=4)
    outside = ndimage.binary_dilation(lungs.mask, iterations=4) & ~lungs.mask
    away = ~ndimage.binary_dilation(heart, iterations=4)
    assert field[inside & away].mean() < field[outside & away].mean() - 0.15


def test_the_lungs_are_darker_than_the_abdomen_although_it_varies():
    rows = np.arange(SHAPE[0])[:, None]
    gaps, densities = [], []
    for seed in range(24):
        lungs, field, heart, _ = make(
            seed, zoom=1.0, shift=(0.0, 0.0), tilt_degrees=0.0, lung_top=0.1, lung_height=0.55
        )
        lowest = np.nonzero(lungs.mask.any(axis=1))[0].max()
        below = (rows > lowest + 3) & (np.abs(np.arange(SHAPE[1]) - SHAPE[1] / 2) < SHAPE[1] / 4)
        densities.append(np.median(field[below]))
        gaps.append(densities[-1] - np.median(field[lungs.mask & ~heart]))
    assert np.mean(np.array(gaps) > 0) > 0.9
    assert np.ptp(densities) > 0.5


def test_equal_seeds_draw_equal_chests():
    np.testing.assert_array_equal(make(3)[1], make(3)[1])
    assert not np.array_equal(make(3)[1], make(4)[1])


def test_the_field_of_view_varies_more_than_that_of_the_plain_phantom():
    zooms = {
        draw: [draw(np.random.default_rng(seed)).zoom for seed in range(50)]
        for draw in (draw_patient, draw_varied_patient)
    }
    assert np.ptp(zooms[draw_varied_patient]) > 1.5 * np.ptp(zooms[draw_patient])


def test_enhancement_raises_local_contrast_and_keeps_the_range_and_flat_images():
    image = np.full((40, 40), 0.4, np.float32)
    image[:, 20:] = 0.6
    raised = 0
    for seed in range(20):
        found = enhance(image, np.random.default_rng(seed))
        assert 0.0 <= found.min() <= found.max() <= 1.0
        np.testing.assert_allclose(found[:, [0, -1]], image[:, [0, -1]], atol=0.03)
        assert np.ptp(found) >= np.ptp(image) - 1e-6
        raised += np.ptp(found) > np.ptp(image) + 1e-3
        flat = enhance(np.full((8, 8), 0.3, np.float32), np.random.default_rng(seed))
        np.testing.assert_allclose(flat, 0.3, atol=1e-6)
    assert 10 <= raised < 20
