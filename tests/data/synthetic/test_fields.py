import numpy as np
import pytest

from mtmedformer_monai.data.synthetic.fields import blob_noise, bump, edge, power_noise, sharpen, smooth_noise

SHAPE = (128, 96)


def power_exponent(noise):
    """Slope of the power spectrum over frequency, both as logarithms."""
    frequency = np.hypot(np.fft.fftfreq(noise.shape[0])[:, None], np.fft.fftfreq(noise.shape[1])[None])
    power = np.abs(np.fft.fft2(noise)) ** 2
    inside = (frequency > 0.03) & (frequency < 0.4)
    return -np.polyfit(np.log(frequency[inside]), np.log(power[inside]), 1)[0]


@pytest.mark.parametrize("exponent", [1.5, 3.0])
def test_the_power_of_noise_falls_as_asked(exponent):
    assert power_exponent(power_noise(SHAPE, exponent, np.random.default_rng(0))) == pytest.approx(exponent, abs=0.1)


@pytest.mark.parametrize("make", [smooth_noise, blob_noise, power_noise], ids=["smooth", "blob", "power"])
def test_noise_is_float32_of_mean_0_and_deviation_1_and_follows_from_the_seed(make):
    first, same, other = (make(SHAPE, 3.0, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert (first.dtype, first.shape) == (np.float32, SHAPE)
    assert (first.mean(), first.std()) == (pytest.approx(0, abs=1e-3), pytest.approx(1, abs=1e-3))
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("make", [smooth_noise, blob_noise], ids=["smooth", "blob"])
def test_larger_scales_are_smoother(make):
    fine, coarse = (np.abs(np.diff(make(SHAPE, scale, np.random.default_rng(0)))).mean() for scale in (3.0, 12.0))
    assert coarse < 0.5 * fine


def test_an_edge_rises_from_0_to_1_and_a_bump_peaks_on_its_line():
    distance = np.array([-100.0, 0.0, 100.0])
    np.testing.assert_allclose(edge(distance, 1.0), [0.0, 0.5, 1.0], atol=1e-6)
    np.testing.assert_allclose(bump(np.array([-2.0, 0.0, 2.0]), 2.0), np.exp([-0.5, 0.0, -0.5]), rtol=1e-6)


def test_sharpening_overshoots_at_a_step_and_changes_nothing_else():
    step = np.repeat(np.array([[0.2, 0.8]], np.float32), 20, axis=1).repeat(5, axis=0)
    sharper = sharpen(step, 0.5, 2.0)
    np.testing.assert_allclose(sharper[:, [0, -1]], step[:, [0, -1]], atol=1e-4)
    assert sharper.min() < 0.1
    assert sharper.max() > 0.9
    np.testing.assert_allclose(sharper.mean(), step.mean(), atol=1e-4)
    np.testing.assert_array_equal(sharpen(step, 0.0, 2.0), step)
