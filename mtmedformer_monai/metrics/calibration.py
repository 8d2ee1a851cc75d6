"""Expected calibration error: the difference between confidence and accuracy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def expected_calibration_error(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], num_bins: int = 15
) -> float:
    """Returns the weighted mean over bins of |accuracy - mean confidence| (Guo et al., ICML 2017, eq. 3).

    As in the paper, bins have equal width in [0, 1] and are open on the left: (m / M, (m + 1) / M].

    Args:
        confidence: (N,) probability of the predicted class.
        correct: (N,) whether the predicted class is correct.
        num_bins: number of bins M.

    Returns:
        A value in [0, 1]; NaN for N = 0.

    Example:
        >>> float(round(expected_calibration_error(np.array([0.9, 0.9]), np.array([True, False])), 3))
        0.4
    """
    if len(confidence) == 0:
        return float("nan")
    edges = np.linspace(0.0, 1.0, num_bins + 1)
    bins = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, num_bins - 1)
    gaps = np.bincount(bins, weights=correct.astype(np.float64) - confidence, minlength=num_bins)
    return float(np.abs(gaps).sum() / len(confidence))
