import numpy as np
import pytest

from mtmedformer_monai.data.synthetic.draw_lines import Curve, draw_curves, wander


def straight(width=1.0, strength=1.0, taper=0.0):
    points = np.stack([np.linspace(2.0, 18.0, 9), np.full(9, 5.0)], axis=1)
    return Curve(points, width, strength, taper)


def test_a_line_covers_its_length_times_its_width():
    assert draw_curves((10, 20), [straight(width=2.0)]).sum() == pytest.approx(16 * 2, rel=0.1)


def test_a_line_that_tapers_ends_weaker_and_thinner():
    drawn = draw_curves((10, 20), [straight(width=2.0, taper=0.8)])
    assert drawn[:, 16].sum() < 0.5 * drawn[:, 3].sum()


def test_nothing_drawn_is_nothing():
    assert not draw_curves((4, 6), []).any()


def test_a_walk_without_turns_is_straight():
    points = wander((1.0, 2.0), np.pi / 2, 3.0, 4, np.random.default_rng(0), turn=0.0)
    np.testing.assert_allclose(points, [[1, 2], [1, 5], [1, 8], [1, 11], [1, 14]])


def test_each_step_of_a_walk_has_its_length():
    points = wander((0.0, 0.0), 0.0, 3.0, 20, np.random.default_rng(0), turn=0.5)
    np.testing.assert_allclose(np.hypot(*np.diff(points, axis=0).T), 3.0)
