import numpy as np
import pytest

from mtmedformer_monai.transforms.mammography.threshold import find_threshold


def test_threshold_is_just_above_the_dark_values():
    random = np.random.default_rng(0)
    dark, bright = random.normal(0.05, 0.01, 3000), random.uniform(0.2, 1.0, 1000)
    threshold = find_threshold(np.concatenate([dark, bright]))
    assert dark.max() < threshold < 0.3


def test_threshold_solves_its_equation():
    values = np.random.default_rng(1).random(500) ** 3
    threshold = find_threshold(values)
    shifted = values - values.min()
    dark, bright = (
        shifted[values <= threshold].mean(),
        shifted[values > threshold].mean(),
    )
    expected = values.min() + (dark - bright) / (np.log(dark) - np.log(bright))
    assert threshold == pytest.approx(expected, abs=1e-3)  # the iteration stops when a step is below 1e-4


@pytest.mark.parametrize(("values", "expected"), [([], 0.0), ([0.3, 0.3], 0.3), ([0.0, 1.0], None)])
def test_few_values(values, expected):
    threshold = find_threshold(np.array(values))
    if expected is None:
        assert 0.0 <= threshold < 1.0
    else:
        assert threshold == pytest.approx(expected)
