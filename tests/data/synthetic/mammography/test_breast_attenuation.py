import numpy as np
import pytest

from mtmedformer_monai.data.synthetic.mammography.breast_attenuation import (
    FAT_PER_MM,
    GLAND_PER_MM,
    attenuate,
    healthy_share,
    summation,
)
from mtmedformer_monai.data.synthetic.mammography.breast_shape import draw_breasts, project

SHAPE, SPACING = (160, 128), 1.5


def make(view, seed=0):
    rng = np.random.default_rng(seed)
    return project(draw_breasts(rng)[0], view, SHAPE, SPACING, rng), rng


@pytest.mark.parametrize("view", ["CC", "MLO"])
def test_attenuation_lies_between_fat_and_gland_inside_and_is_0_in_air(view):
    shot, rng = make(view)
    field = attenuate(shot, healthy_share(shot, rng), rng)
    inside = shot.mask & (shot.depth > 0.5 * shot.breast.thickness)
    assert not field[~shot.mask].any()
    assert field[inside].min() >= FAT_PER_MM * shot.breast.thickness - 1e-4
    # Vessels, nodes and the nipple add less than half of the attenuation of a breast of pure gland.
    assert field[inside].max() <= 1.5 * GLAND_PER_MM * shot.breast.thickness


def test_pure_gland_attenuates_more_than_pure_fat():
    shot, _ = make("CC")
    fat, gland = (attenuate(shot, np.full(SHAPE, share, np.float32), np.random.default_rng(0)) for share in (0.0, 1.0))
    np.testing.assert_allclose(gland - fat, shot.thickness * (GLAND_PER_MM - FAT_PER_MM) * shot.mask, atol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_the_muscle_is_a_bright_triangle_at_the_top_of_an_mlo(seed):
    shot, rng = make("MLO", seed)
    share = healthy_share(shot, rng)
    top, low = share[:20], share[-40:-20]
    assert top[:, :8].mean() > 0.4
    assert top[:, :20].mean() > low[:, :20].mean() + 0.2


def test_a_summation_shadow_is_densest_at_its_center():
    shot, rng = make("CC")
    place = (0.5 * shot.breast.reach, 0.0)
    added = summation(shot, place, 24.0, 0.3, rng)
    away = np.hypot(shot.x - place[0], shot.up - place[1])
    assert added[away < 6].mean() > 3 * added[(away > 14) & (away < 20)].mean()
    assert added[away > 40].max() < 0.01
