import numpy as np
import pytest

from mtmedformer_monai.data.synthetic.mammography.breast_tissue import ducts, gland_share, strands, vessels

from .conftest import SHAPE, make_view, spectrum_exponents


def test_denser_classes_have_more_gland():
    means = []
    for density in "ABCD":
        shares = []
        for seed in range(3):
            shot, rng = make_view(density, seed)
            shares.append(gland_share(shot, rng)[shot.mask].mean())
        means.append(np.mean(shares))
    assert (np.diff(means) > 0.03).all()


@pytest.mark.parametrize("view", ["CC", "MLO"])
@pytest.mark.parametrize("density", ["A", "D"])
def test_gland_is_a_fraction_and_leaves_subcutaneous_fat(density, view):
    shot, rng = make_view(density, 1, view)
    share = gland_share(shot, rng)
    away_from_nipple = shot.from_nipple[0] > 40.0
    assert (share.dtype, share.shape) == (np.float32, SHAPE)
    assert 0.0 <= share.min() <= share.max() <= 1.0
    assert share[shot.mask & away_from_nipple & (shot.depth < 3.0)].mean() < 0.1


def test_the_power_spectrum_is_that_of_mammograms():
    """The exponents of real mammograms are between 2 and 4, on average 3 (Burgess et al., 2001)."""
    assert 2.4 < np.mean(spectrum_exponents(gland_share, 4)) < 3.6


@pytest.mark.parametrize("draw", [ducts, vessels, lambda shot, rng: strands(shot, shot.mask, rng)])
def test_lines_lie_inside_and_cover_little(draw):
    shot, rng = make_view("A")
    lines = draw(shot, rng)
    assert lines.max() > 0.02
    assert lines[shot.depth < -1.0].sum() < 0.01 * lines.sum()
    assert 0.002 < (lines[shot.mask] > 0.03).mean() < 0.5


def test_ducts_converge_on_the_nipple():
    shot, rng = make_view("A")
    lines, (radius, _) = ducts(shot, rng), shot.from_nipple
    near, far = (lines[shot.mask & (radius > low) & (radius < low + 15)].mean() for low in (10, 40))
    assert near > 1.5 * far
