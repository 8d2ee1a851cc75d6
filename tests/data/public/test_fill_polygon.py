import numpy as np
import pytest
from matplotlib.path import Path

from mtmedformer_monai.data.public.fill_polygon import fill_polygon


def test_a_rectangle_on_pixel_edges_is_filled_exactly():
    mask = fill_polygon([(1, 2), (4, 2), (4, 6), (1, 6)], height=8, width=12)
    expected = np.zeros((8, 12), bool)
    expected[2:6, 1:4] = True
    assert np.array_equal(mask, expected)


def test_adjacent_polygons_cover_each_pixel_once():
    first = fill_polygon([(0, 0), (9, 0), (0, 7)], 7, 9)
    second = fill_polygon([(9, 0), (9, 7), (0, 7)], 7, 9)
    assert (first ^ second).all()


def test_parts_outside_the_image_are_clipped():
    assert fill_polygon([(-5, -5), (50, -5), (50, 50), (-5, 50)], 4, 6).all()
    assert not fill_polygon([(7, 0), (9, 0), (9, 4), (7, 4)], 4, 6).any()


def test_direction_and_first_corner_do_not_matter():
    corners = [(1.3, 0.2), (10.1, 3.3), (6.6, 7.9), (2.2, 5.1)]
    mask = fill_polygon(corners, 8, 12)
    assert mask.any()
    assert np.array_equal(fill_polygon(corners[::-1], 8, 12), mask)
    assert np.array_equal(fill_polygon(corners[2:] + corners[:2], 8, 12), mask)


@pytest.mark.parametrize("seed", range(10))
def test_it_agrees_with_matplotlib_on_stars(seed):
    random = np.random.default_rng(seed)
    angles = np.sort(random.uniform(0, 2 * np.pi, 30))
    radii = random.uniform(5, 40, 30)
    corners = np.stack([32 + radii * np.cos(angles), 24 + radii * np.sin(angles)], axis=1)
    x, y = np.meshgrid(np.arange(64) + 0.5, np.arange(48) + 0.5)
    expected = Path(corners).contains_points(np.stack([x.ravel(), y.ravel()], axis=1)).reshape(48, 64)
    assert np.array_equal(fill_polygon([tuple(corner) for corner in corners], 48, 64), expected)
