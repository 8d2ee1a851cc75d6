import math

import numpy as np
import pytest
import torch

from mtmedformer_monai.metrics import expected_calibration_error


def test_by_hand():
    # Bins of a fifth. (0.2, 0.4]: 0.3 and 0.4, one right: |0.5 - 0.35| * 2. (0.8, 1]: 0.9, right: 0.1 * 1.
    value = expected_calibration_error(np.array([0.3, 0.4, 0.9]), np.array([True, False, True]), num_bins=5)
    assert value == pytest.approx((0.3 + 0.1) / 3)


def test_calibrated_is_zero_and_none_is_nan():
    assert expected_calibration_error(np.full(4, 0.75), np.array([True, True, True, False])) == pytest.approx(0.0)
    assert math.isnan(expected_calibration_error(np.zeros(0), np.zeros(0, dtype=bool)))


def test_agrees_with_monai():
    monai = pytest.importorskip("monai.metrics.calibration", reason="MONAI has it from 1.6 on")
    rng = np.random.default_rng(0)
    confidence, correct = rng.random(500), rng.random(500) > 0.4
    predicted, true = torch.from_numpy(confidence)[None, None], torch.from_numpy(correct)[None, None]
    mean_confidence, accuracy, counts = monai.calibration_binning(predicted, true, num_bins=15)
    theirs = ((accuracy - mean_confidence).abs() * counts).nansum() / counts.sum()
    assert expected_calibration_error(confidence, correct) == pytest.approx(theirs.item(), abs=1e-6)  # float32 sums
