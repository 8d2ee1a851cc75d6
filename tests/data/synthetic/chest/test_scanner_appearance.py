from dataclasses import replace

import numpy as np
import pytest

from mtmedformer_monai.data.synthetic.chest.scanner_appearance import SCANNERS, add_border_and_marker, expose

SHAPE = (60, 80)
SITES = [scanner.name for scanner in SCANNERS]


@pytest.mark.parametrize("scanner", SCANNERS, ids=SITES)
def test_denser_is_brighter_without_noise(scanner):
    steps = np.repeat(np.linspace(0.0, 2.0, 8), SHAPE[1] // 8)
    quiet = replace(scanner, noise=0.0, blur=0.0)
    shown = expose(np.tile(steps, (SHAPE[0], 1)).astype(np.float32), quiet, np.random.default_rng(0))
    middles = shown[30, 5::10]
    assert (np.diff(middles) >= 0).all()
    assert middles[-1] - middles[0] > 0.5


@pytest.mark.parametrize("scanner", SCANNERS, ids=SITES)
def test_the_image_is_float32_between_0_and_1(scanner):
    rng = np.random.default_rng(1)
    shown = expose(rng.uniform(0.0, 2.5, SHAPE).astype(np.float32), scanner, rng)
    assert (shown.dtype, shown.shape) == (np.float32, SHAPE)
    assert (shown.min(), shown.max()) == (0.0, 1.0)


def test_the_appearance_is_determined_by_the_seed():
    flat = np.full(SHAPE, 1.0, np.float32)
    first, same, other = (expose(flat, SCANNERS[1], np.random.default_rng(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


def test_a_larger_noise_parameter_adds_noise():
    flat = np.full(SHAPE, 1.0, np.float32)
    flat[:, :40] = 0.5
    spread = [
        expose(flat, replace(SCANNERS[0], noise=noise), np.random.default_rng(0))[20:40, 50:70].std()
        for noise in (0.005, 0.05)
    ]
    assert spread[1] > 3 * spread[0]


@pytest.mark.parametrize("seed", range(2))
def test_the_marker_is_at_the_top_of_the_images_right(seed):
    marked = add_border_and_marker(np.zeros(SHAPE, np.float32), SCANNERS[0], np.random.default_rng(seed))
    rows, columns = np.nonzero(marked)
    assert len(rows) > 0
    assert rows.max() < SHAPE[0] // 4
    assert columns.min() > SHAPE[1] * 3 // 4


def test_borders_are_black_and_no_wider_than_the_scanners():
    scanner = replace(SCANNERS[1], border=0.1)
    widths = []
    for seed in range(20):
        shown = add_border_and_marker(np.full(SHAPE, 0.5, np.float32), scanner, np.random.default_rng(seed))
        widths.append(int((shown[30] == 0).sum()) / 2)
        assert (shown[-1] == 0).all() == (widths[-1] > 0)
    assert 2 < max(widths) <= 8
