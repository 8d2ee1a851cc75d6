from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from mtmedformer_monai.data.synthetic.chest.phantom import (
    draw_patient,
    heart_distance,
    make_grid,
    make_lungs,
    render_anatomy,
    smooth_noise,
)

SHAPE = (72, 60)


def upright(seed):
    patient = draw_patient(np.random.default_rng(seed))
    return replace(patient, tilt_degrees=0.0, zoom=1.0, shift=(0.0, 0.0))


def test_an_upright_patients_grid_holds_pixel_centers():
    x, y = make_grid((2, 4), upright(0))
    np.testing.assert_allclose(x, [[-0.75, -0.25, 0.25, 0.75]] * 2, atol=1e-6)
    np.testing.assert_allclose(y, [[0.25] * 4, [0.75] * 4], atol=1e-6)


def test_a_shift_moves_the_chest_to_the_right():
    x, _ = make_grid((2, 4), replace(upright(0), shift=(0.25, 0.0)))
    np.testing.assert_allclose(x[0], [-1.0, -0.5, 0.0, 0.5], atol=1e-6)


@pytest.mark.parametrize("scale", [3.0, 20.0], ids=["fine", "coarse"])
def test_noise_is_normalized_and_has_the_given_scale(scale):
    noise = smooth_noise(SHAPE, scale, np.random.default_rng(0))
    assert noise.shape == SHAPE
    assert (noise.mean(), noise.std()) == pytest.approx((0.0, 1.0), abs=1e-3)
    step = np.abs(np.diff(noise, axis=1)).mean()
    assert 0.2 / scale < step < 2.5 / scale


@pytest.mark.parametrize("seed", range(4))
def test_one_lung_per_side_with_higher_right_base_and_without_the_heart(seed):
    patient = upright(seed)
    x, y = make_grid(SHAPE, patient)
    lungs = make_lungs(x, y, patient, np.random.default_rng(seed))
    right, left = lungs.masks  # the patient's right lung is at the image's left
    assert x[right].max() < x[left].min()
    assert y[right].max() <= y[left].max()
    assert [ndimage.label(mask)[1] for mask in (right, left)] == [1, 1]
    assert not (lungs.mask & (heart_distance(x, y, patient) > 0)).any()
    assert 0.1 < lungs.mask.mean() < 0.5


def test_the_heart_lies_to_the_patients_left():
    patient = upright(0)
    x, y = make_grid(SHAPE, patient)
    assert x[heart_distance(x, y, patient) > 0].mean() > 0.05


def test_air_attenuates_nothing_and_lungs_less_than_the_body_around():
    patient, rng = upright(3), np.random.default_rng(3)
    x, y = make_grid(SHAPE, patient)
    lungs = make_lungs(x, y, patient, rng)
    field = render_anatomy(x, y, patient, lungs, rng)
    assert field.shape == SHAPE
    assert field.min() >= 0
    assert field[0, 0] < 0.05
    assert field[lungs.mask].mean() < 0.75 * field[-6:, 22:38].mean()


def test_anatomy_is_determined_by_the_seed():
    def field(seed):
        rng = np.random.default_rng(seed)
        patient = draw_patient(rng)
        x, y = make_grid(SHAPE, patient)
        return render_anatomy(x, y, patient, make_lungs(x, y, patient, rng), rng)

    np.testing.assert_array_equal(field(0), field(0))
    assert not np.array_equal(field(0), field(1))


def test_children_have_shorter_lungs_and_larger_hearts():
    patients = [draw_patient(np.random.default_rng(seed)) for seed in range(200)]
    child, adult = ([one for one in patients if one.is_child is kind] for kind in (True, False))
    assert 0.2 < len(child) / len(patients) < 0.46  # a third, within 4 standard deviations of 200 draws
    assert np.mean([one.lung_height for one in child]) < np.mean([one.lung_height for one in adult])
    assert np.mean([one.heart_size for one in child]) > np.mean([one.heart_size for one in adult])
    assert not any(one.is_female for one in child)  # so no breast shadows
