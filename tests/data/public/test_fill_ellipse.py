import numpy as np
import pytest

from mtmedformer_monai.data.public.fill_ellipse import fill_ellipse
from mtmedformer_monai.data.public.fill_polygon import fill_polygon


def test_a_small_disc():
    assert fill_ellipse((2.5, 1.5), (1.1, 1.1), 3, 5).astype(int).tolist() == [
        [0, 0, 1, 0, 0],
        [0, 1, 1, 1, 0],
        [0, 0, 1, 0, 0],
    ]


@pytest.mark.parametrize("angle", [0.0, 0.6, np.pi / 2], ids=["upright", "turned", "quarter"])
def test_an_ellipse_equals_its_polygon(angle):
    steps = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    along, across = 20 * np.cos(steps), 8 * np.sin(steps)
    x = 31.3 + along * np.cos(angle) - across * np.sin(angle)
    y = 27.8 + along * np.sin(angle) + across * np.cos(angle)
    expected = fill_polygon(list(zip(x, y, strict=True)), 60, 64)
    assert (fill_ellipse((31.3, 27.8), (20, 8), 60, 64, angle) != expected).sum() <= 2  # the polygon is inscribed


def test_parts_outside_the_image_are_clipped():
    whole = fill_ellipse((10, 10), (6, 6), 20, 20)
    assert np.array_equal(fill_ellipse((0, 0), (6, 6), 10, 10), whole[10:, 10:])
    assert not fill_ellipse((-50, 5), (6, 6), 10, 10).any()


def test_no_radius_is_no_pixel():
    assert not fill_ellipse((5, 5), (0, 0), 10, 10).any()
