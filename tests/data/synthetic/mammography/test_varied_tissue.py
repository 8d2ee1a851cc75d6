from dataclasses import replace

import numpy as np
import pytest

from mtmedformer_monai.data.synthetic.mammography.breast_shape import DENSITIES, draw_breasts, project
from mtmedformer_monai.data.synthetic.mammography.varied_tissue import draw_varied_breasts, varied_share

SHAPE, SPACING = (160, 128), 1.5


def make(density="B", seed=0, view="CC"):
    rng = np.random.default_rng(seed)
    breast = replace(draw_breasts(rng)[0], density=density, gland_share=float(np.mean(DENSITIES[density])))
    return project(breast, view, SHAPE, SPACING, rng), rng


def test_breasts_vary_more_than_plain_ones_and_both_sides_are_alike():
    plain, varied = (
        [draw(np.random.default_rng(seed)) for seed in range(60)] for draw in (draw_breasts, draw_varied_breasts)
    )
    for measure in ("reach", "half_width", "fullness"):
        spreads = [np.std([getattr(right, measure) for right, _ in pairs]) for pairs in (plain, varied)]
        assert spreads[1] > 1.2 * spreads[0]
    for right, left in varied:
        assert right.density == left.density
        assert abs(right.reach - left.reach) < 0.15 * right.reach


def test_denser_classes_have_more_dense_tissue():
    means = [
        np.mean([share[shot.mask].mean() for seed in range(6) for shot, share in [_share(density, seed)]])
        for density in "ABCD"
    ]
    assert (np.diff(means) > 0.02).all()


def _share(density, seed, view="CC"):
    shot, rng = make(density, seed, view)
    return shot, varied_share(shot, rng)


@pytest.mark.parametrize("view", ["CC", "MLO"])
@pytest.mark.parametrize("seed", range(3))
def test_the_share_is_a_fraction_and_depends_on_the_seed(view, seed):
    share = _share("C", seed, view)[1]
    assert (share.dtype, share.shape) == (np.float32, SHAPE)
    assert 0.0 <= share.min() < share.max() <= 1.0
    np.testing.assert_array_equal(share, _share("C", seed, view)[1])
    assert (share != _share("C", seed + 1, view)[1]).any()


def test_the_power_spectrum_is_that_of_mammograms():
    """The exponents of real mammograms are between 2 and 4, on average 3 (Burgess et al., 2001)."""
    exponents = []
    window = np.outer(np.hanning(96), np.hanning(96))
    frequency = np.hypot(np.fft.fftfreq(96)[:, None], np.fft.fftfreq(96)[None]) / 0.6
    band = (frequency > 0.1) & (frequency < 0.6)
    for seed in range(6):
        rng = np.random.default_rng(seed)
        shot = project(replace(draw_breasts(rng)[0], reach=100.0), "CC", (300, 240), 0.6, rng)
        patch = varied_share(shot, rng)[102:198, 30:126]
        power = np.abs(np.fft.fft2((patch - patch.mean()) * window)) ** 2
        exponents.append(-np.polyfit(np.log(frequency[band]), np.log(power[band]), 1)[0])
    assert 2.4 < np.mean(exponents) < 3.6


def test_the_muscle_is_at_the_chest_wall_at_the_top():
    top, bottom = [], []
    for seed in range(6):
        shot, share = _share("A", seed, "MLO")
        wall = shot.mask & (shot.x < 0.15 * shot.breast.reach)
        top.append(share[wall & (shot.up > 0.9 * shot.up.max())].mean())
        bottom.append(share[wall & (shot.up < 0)].mean())
    assert np.mean(top) > np.mean(bottom) + 0.1
