import numpy as np
import pytest

from mtmedformer_monai.data.synthetic.mammography.breast_shape import draw_breasts, project
from mtmedformer_monai.data.synthetic.mammography.lesion_appearance import render_lesion
from mtmedformer_monai.data.synthetic.mammography.lesions import draw_lesions
from mtmedformer_monai.data.synthetic.mammography.varied_lesions import (
    CONTRASTS,
    SIZES_MM,
    draw_varied_lesions,
    outline_lesion,
    render_varied_lesion,
)

from .conftest import SHAPE, SPACING


def draw(seed, draw_lesions=draw_varied_lesions):
    rng = np.random.default_rng(seed)
    breast = draw_breasts(rng)[0]
    return breast, draw_lesions(breast, "malignant", rng)


def test_lesions_are_smaller_than_plain_ones_and_of_more_sizes():
    plain, varied = (
        np.array([lesion.diameter_mm for seed in range(80) for lesion in draw(seed, each)[1]])
        for each in (draw_lesions, draw_varied_lesions)
    )
    assert (varied >= SIZES_MM[0]).all()
    assert varied.mean() < 0.8 * plain.mean()
    assert varied.std() / varied.mean() > plain.std() / plain.mean()


def test_a_healthy_breast_has_no_lesion():
    rng = np.random.default_rng(0)
    assert draw_varied_lesions(draw_breasts(rng)[0], "normal", rng) == []


@pytest.mark.parametrize("seed", range(6))
def test_lesions_add_as_much_as_their_contrast_says_inside_the_breast(seed):
    breast, lesions = draw(seed)
    view = project(breast, "CC", SHAPE, SPACING, np.random.default_rng(seed))
    share = np.full(SHAPE, 0.3, np.float32)
    for lesion in lesions:
        field, mask = render_varied_lesion(view, lesion, share)
        plain, same = render_lesion(view, lesion, share)
        np.testing.assert_array_equal(mask, same)
        assert not field[~view.mask].any()
        ratio = field.sum() / plain.sum()
        assert 0.7 * CONTRASTS[0] < ratio < 1.3 * CONTRASTS[1]


@pytest.mark.parametrize("is_film", [True, False])
def test_outlines_contain_the_lesion_and_end_at_the_skin(is_film):
    y, x = np.ogrid[:60, :60]
    lesion = (np.hypot((y - 30) / 1.5, x - 40) < 7) & (x < 45)
    breast = np.broadcast_to(x < 45, lesion.shape)
    shares = []
    for seed in range(60):
        drawn = outline_lesion(lesion, breast, is_film, np.random.default_rng(seed))
        assert not (lesion & ~drawn).any()
        assert not (drawn & ~breast).any()
        shares.append(drawn.sum() / lesion.sum())
    assert max(shares) < 2.6
    assert np.ptp(shares) > 0.3


def test_films_have_more_circles_than_digital_images():
    """A thin bar is far from a circle, so its outline is much larger where it is one."""
    bar = np.zeros((80, 80), bool)
    bar[38:42, 25:55] = True
    areas = [
        [outline_lesion(bar, np.ones_like(bar), film, np.random.default_rng(seed)).sum() for seed in range(80)]
        for film in (True, False)
    ]
    round_ones = [np.mean(np.array(each) > 1.9 * bar.sum()) for each in areas]
    assert round_ones[0] > round_ones[1] + 0.2
