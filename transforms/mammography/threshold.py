"""Li's threshold: where the dark background ends."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def find_threshold(values: NDArray[Any]) -> float:
    """The threshold of least cross entropy (Li and Tam, Pattern Recognition Letters 1998, eq. 10).

    It weighs both sides by their sums, not their counts: where most of a picture is dark, and the rest is of all
    grays, it stands just above the dark, where Otsu's would cut the breast's fat off.

    Args:
        values: grays of 0 or more, any shape.

    Returns:
        A value that separates them; the largest one where all are alike.

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
