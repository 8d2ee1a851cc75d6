from dataclasses import replace

import numpy as np
import pytest

from mtmedformer_monai.data.synthetic.mammography.breast_shape import (
    DENSITIES,
    VIEWS,
    compressed_thickness,
    draw_breasts,
    outline,
    place_in_view,
    project,
)

SHAPE, SPACING = (120, 96), 2.0


def make(seed=0, view="CC"):
    rng = np.random.default_rng(seed)
    breast = draw_breasts(rng)[0]
    return project(breast, view, SHAPE, SPACING, rng)


@pytest.mark.parametrize("seed", range(4))
def test_both_breasts_of_a_patient_are_similar(seed):
    right, left = draw_breasts(np.random.default_rng(seed))
    low, high = DENSITIES[right.density]
    assert left.density == right.density
    assert all(low <= breast.gland_share <= high for breast in (right, left))
    assert left.reach == pytest.approx(right.reach, rel=0.15)


def test_density_classes_do_not_overlap():
    ends = [end for density in "ABCD" for end in DENSITIES[density]]
    assert ends == sorted(ends)


@pytest.mark.parametrize("view", VIEWS)
def test_the_nipple_is_the_farthest_point_of_the_outline(view):
    breast = replace(draw_breasts(np.random.default_rng(0))[0], nipple=5.0)
    up = np.linspace(-60.0, 60.0, 121)
    reach = outline(up, breast, view)
    assert up[reach.argmax()] == 0.0
    assert reach.max() == pytest.approx(breast.reach + 5.0)


def test_a_cc_is_closed_above_and_an_mlo_extends_into_the_axilla():
    breast = draw_breasts(np.random.default_rng(0))[0]
    high = np.array([1.2 * breast.half_width])
    assert outline(high, breast, "CC") == pytest.approx(0.0, abs=0.1)
    assert outline(high, breast, "MLO") > 0.4 * breast.reach


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("seed", range(3))
def test_thickness_falls_off_toward_the_skin_and_is_0_outside(seed, view):
    shot = make(seed, view)
    full = shot.breast.thickness
    assert (shot.thickness[shot.depth > full / 2] == np.float32(full)).all()
    assert not shot.thickness[~shot.mask & (shot.depth < 0)].any()
    rim = shot.mask & (shot.depth < 6.0)
    assert 0 < shot.thickness[rim].mean() < 0.8 * full


def test_thickness_is_a_half_circle_at_the_rim():
    np.testing.assert_allclose(compressed_thickness(np.array([-1.0, 0.0, 4.0, 20.0, 50.0]), 40.0), [0, 0, 24, 40, 40])


@pytest.mark.parametrize("view", VIEWS)
def test_the_breast_is_attached_to_the_chest_wall(view):
    mask = make(1, view).mask
    assert mask[:, 0].sum() > 0.4 * SHAPE[0]
    assert not mask[:, -1].any()
    assert (np.diff(mask.astype(int), axis=1) <= 0).all()  # once outside, outside


def test_depth_is_the_distance_to_the_skin():
    shot = make(0, "CC")
    row = int(np.abs(shot.up[:, 0]).argmin())
    inside = shot.mask[row] & (shot.x[row] > 0.6 * shot.breast.reach) & (shot.x[row] < 0.8 * shot.breast.reach)
    expected = outline(np.zeros(1), replace(shot.breast, nipple=0.0), "CC")[0] - shot.x[row, inside]
    np.testing.assert_allclose(shot.depth[row, inside], expected, rtol=0.25)  # a broad nipple and a bow are nearer


def test_polar_coordinates_start_at_the_nipple():
    shot = make(0, "CC")
    radius, angle = shot.from_nipple
    place = np.unravel_index(radius.argmin(), SHAPE)
    assert shot.x[place] == pytest.approx(shot.breast.reach, abs=SPACING)
    assert shot.up[place] == pytest.approx(0.0, abs=SPACING)
    assert (np.sign(angle) == np.sign(shot.up)).all()


def test_a_point_has_the_same_distance_from_the_chest_wall_in_both_views():
    breast = draw_breasts(np.random.default_rng(0))[0]
    lateral, above = (40.0, 0.5, 0.0), (40.0, 0.0, 0.5)
    half = 0.5 * breast.half_width
    assert place_in_view(lateral, breast, "CC") == (40.0, pytest.approx(half))
    assert place_in_view(above, breast, "CC") == (40.0, 0.0)
    assert place_in_view(lateral, breast, "MLO") == (40.0, pytest.approx(half * np.sqrt(0.5)))
    assert place_in_view(above, breast, "MLO") == (40.0, pytest.approx(half * np.sqrt(0.5)))
