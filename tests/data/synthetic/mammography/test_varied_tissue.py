import numpy as np
import pytest

from mtmedformer_monai.data.synthetic.mammography.breast_shape import draw_breasts
from mtmedformer_monai.data.synthetic.mammography.varied_tissue import draw_varied_breasts, varied_share

from .conftest import SHAPE, make_view, spectrum_exponents


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
    shot, rng = make_view(density, seed, view)
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
    assert 2.4 < np.mean(spectrum_exponents(varied_share, 6)) < 3.6


def test_the_muscle_is_at_the_chest_wall_at_the_top():
    top, bottom = [], []
    for seed in range(6):
        shot, share = _share("A", seed, "MLO")
        wall = shot.mask & (shot.x < 0.15 * shot.breast.reach)
        top.append(share[wall & (shot.up > 0.9 * shot.up.max())].mean())
        bottom.append(share[wall & (shot.up < 0)].mean())
    assert np.mean(top) > np.mean(bottom) + 0.1
