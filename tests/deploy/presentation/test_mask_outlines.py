from itertools import pairwise

import numpy as np
import pytest

from mtmedformer_monai.deploy.presentation.mask_outlines import mask_outlines


def signed_area(outline):
    """Shoelace formula; positive for clockwise outlines where y points down."""
    x, y = outline.T
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2)


def length(outline):
    return float(np.abs(np.diff(outline, axis=0)).sum())


def fill(outlines, shape):
    """Fills outlines by the even-odd rule along each row."""
    crossings = np.zeros((shape[0], shape[1] + 1), int)
    for outline in outlines:
        for (x0, y0), (x1, y1) in pairwise(outline):
            if x0 == x1:
                crossings[int(min(y0, y1)) : int(max(y0, y1)), int(x0)] += 1
    return (crossings.cumsum(axis=1) % 2 == 1)[:, :-1]


def test_a_rectangle_has_four_corners():
    mask = np.zeros((5, 6), bool)
    mask[1:3, 2:6] = True
    assert [outline.tolist() for outline in mask_outlines(mask)] == [[[2, 1], [6, 1], [6, 3], [2, 3], [2, 1]]]


def test_a_hole_runs_in_the_opposite_direction():
    mask = np.ones((3, 3), bool)
    mask[1, 1] = False
    assert sorted(signed_area(outline) for outline in mask_outlines(mask)) == [-1, 9]


def test_pixels_that_touch_at_a_corner_have_separate_outlines():
    assert [signed_area(outline) for outline in mask_outlines(np.eye(3, dtype=bool))] == [1, 1, 1]


def test_an_empty_mask_has_no_outline():
    assert mask_outlines(np.zeros((4, 4), bool)) == []


@pytest.mark.parametrize("seed", range(20))
def test_outlines_enclose_exactly_the_mask(seed):
    generator = np.random.default_rng(seed)
    mask = generator.random((generator.integers(1, 12), generator.integers(1, 12))) < generator.choice([0.3, 0.6, 0.9])
    outlines = mask_outlines(mask)
    padded = np.pad(mask, 1).astype(int)
    assert (fill(outlines, mask.shape) == mask).all()
    assert sum(map(signed_area, outlines)) == mask.sum()
    assert sum(map(length, outlines)) == sum(np.abs(np.diff(padded, axis=axis)).sum() for axis in (0, 1))
    for outline in outlines:
        steps = np.sign(np.diff(outline, axis=0))
        assert (outline[0] == outline[-1]).all()
        assert (steps != np.roll(steps, 1, axis=0)).any(axis=1).all(), "a point lies on a straight line"
