"""Li's minimum cross-entropy threshold, which separates the dark background."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def find_threshold(values: NDArray[Any]) -> float:
    """Finds the minimum cross-entropy threshold (Li and Tam, Pattern Recognition Letters 1998, eq. 10).

    Both classes are weighted by the sums of their values, not by their counts. If most of an image is dark and the rest
    covers all gray levels, the threshold is just above the dark values, whereas Otsu's would exclude the breast's fat.

    Args:
        values: gray levels of 0 or more, any shape.

    Returns:
        The threshold; the largest value if all values are (almost) equal.

    Example:
        >>> 0.1 < find_threshold(np.array([0.0, 0.1, 0.0, 0.1, 0.4, 0.6, 0.9])) < 0.4
        True
    """
    if values.size == 0:
        return 0.0
    lowest, highest = float(values.min()), float(values.max())
    if highest - lowest < 1e-3:
        return highest
    above_lowest = values.ravel() - lowest
    threshold = float(above_lowest.mean())
    for _ in range(50):
        is_bright = above_lowest > threshold
        dark, bright = max(float(above_lowest[~is_bright].mean()), 1e-4), float(above_lowest[is_bright].mean())
        moved = (dark - bright) / float(np.log(dark) - np.log(bright))
        if abs(moved - threshold) < 1e-4:
            break
        threshold = moved
    return lowest + threshold
