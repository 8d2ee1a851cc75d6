import numpy as np
import pytest
import torch

from mtmedformer_monai.transforms import render_mammogram
from mtmedformer_monai.transforms.mammography.presentation_appearance import DensityScale, apply_tone, measure_missing

SCALE = DensityScale(air=0.0, fat=2.0, dense=3.0)


@pytest.fixture
def compressed():
    """Makes a fatty breast of density 2 at full thickness that thins within 20 pixels of the skin, and its mask."""
    y, x = np.mgrid[0:200, 0:150]
    depth = 110.0 - np.hypot((y - 100) * 1.2, x)
    thickness = np.sqrt(np.clip(1.0 - (1.0 - np.clip(depth / 20.0, 0.0, 1.0)) ** 2, 0.0, 1.0))
    return (2.0 * thickness).astype(np.float32), depth > 0


def test_missing_density_is_added_toward_the_skin(compressed):
    density, mask = compressed
    missing, scale = measure_missing(density, mask)
    assert scale.air == pytest.approx(0.0, abs=0.02)
    assert scale.fat == pytest.approx(2.0, abs=0.05)
    inner = mask & (density > 1.99)
    ring = mask & (density > 1.0) & (density < 1.9)
    assert np.abs(missing[inner]).mean() < 0.05
    flattened = density + missing
    assert np.abs(flattened[ring] - 2.0).mean() < 0.5 * np.abs(density[ring] - 2.0).mean()


def test_dense_tissue_does_not_darken_adjacent_fat(compressed):
    density, mask = compressed
    with_mass = density.copy()
    with_mass[90:110, 75:90] += 1.0
    plain, _ = measure_missing(density, mask)
    beside, _ = measure_missing(with_mass, mask)
    np.testing.assert_allclose(beside, plain, atol=0.1)


def test_tone_by_hand():
    """The tone curve is sigmoid(4 (x - 2.45) / 1.25), minus its value for air."""
    x = np.array([0.0, 2.0, 2.45, 3.0])
    sigmoid = 1.0 / (1.0 + np.exp(-3.2 * (x - 2.45)))
    expected = (sigmoid - sigmoid[0]) / (1.0 - sigmoid[0])
    np.testing.assert_allclose(apply_tone(torch.tensor(x, dtype=torch.float32), SCALE), expected, atol=1e-6)
    assert expected[1] == pytest.approx(0.19, abs=0.01)
    assert expected[3] == pytest.approx(0.85, abs=0.01)


def test_order_is_kept_inside_the_breast(compressed):
    density, _ = compressed
    density[95:105, 30:40] += 0.6
    density[95:105, 45:55] += 0.3
    unit = render_mammogram(torch.from_numpy(density)[None])[0]
    assert unit[100, 35] > unit[100, 50] > unit[100, 20] > 0.1
    assert unit[:, 140:].max() < 0.01


@pytest.mark.parametrize(("factor", "offset"), [(1.0, 0.0), (500.0, 0.0), (1.0, -7.0), (0.01, 3.0)])
def test_the_unit_of_density_does_not_matter(compressed, factor, offset):
    density, _ = compressed
    plain = render_mammogram(torch.from_numpy(density)[None])
    other = render_mammogram(torch.from_numpy(factor * density + np.float32(offset))[None])
    torch.testing.assert_close(other, plain, atol=2e-3, rtol=0)


def test_the_input_is_not_modified(compressed):
    density = torch.from_numpy(compressed[0])[None]
    before = density.clone()
    assert torch.equal(render_mammogram(density), render_mammogram(density))
    assert torch.equal(density, before)


def test_no_breast():
    assert render_mammogram(torch.zeros(1, 30, 20)) is None
