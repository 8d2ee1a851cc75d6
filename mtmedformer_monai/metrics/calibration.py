"""Expected calibration error: how far confidence is from accuracy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def expected_calibration_error(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], num_bins: int = 15
) -> float:
    """Weighted mean over bins of |accuracy - mean confidence| (Guo et al., ICML 2017, eq. 3).

    Bins are equally wide over [0, 1] and open on the left, as in the paper: (m / M, (m + 1) / M].

    Args:
        confidence: (N,) probability of the chosen class.
        correct: (N,) whether the chosen class was right.
        num_bins: M.

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
