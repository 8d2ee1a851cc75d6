"""Detects from the pixels on which side of a mammogram the chest wall is."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .breast_mask import CoarseBreast

Side = Literal["left", "right", ""]

_CLEAR = 0.5
"""Minimum absolute asymmetry score for a decision; breasts that fill the image, and chests, score lower."""

_MOST_BRIGHTNESS = 0.3
"""Largest contribution of brightness to the score, in median gray levels of the breast."""


def find_chest_wall(breast: CoarseBreast) -> Side:
    """Finds the side of the chest wall from two features of the borders of the breast.

    At the chest wall the border is straight, because the film or detector ends there; along the skin it is curved. At
    the chest wall the tissue is cut at its full thickness, so the image is bright up to the border; toward the skin it
    fades. Processed digital images often show the skin brighter than anything else, so brightness alone never decides.

    Args:
        breast: a breast with its chest wall on the left or right, with or without padding beside it.

    Returns:
        'left' or 'right', or '' if the features are weak or contradict each other.
    """
    score = asymmetry_score(breast)
    if abs(score) < _CLEAR:
        return ""
    return "left" if score > 0.0 else "right"


def asymmetry_score(breast: CoarseBreast) -> float:
    """Returns how much straighter and brighter the left border is than the right border, about -2.3 to 2.3."""
    left, right = _borders(breast.mask)
    width = float(np.ptp(np.flatnonzero(breast.mask.any(axis=0)))) + 1.0
    straighter = _straightness(left[1], width) - _straightness(right[1], width)
    smooth = ndimage.gaussian_filter(breast.picture, 1.0)
    depth = max(2, round(0.04 * width))
    brighter = _gray_inside(smooth, left, depth) - _gray_inside(smooth, right, -depth)
    relative = brighter / max(float(np.median(smooth[breast.mask])), 1e-6)
    return 2.0 * straighter + min(max(relative, -_MOST_BRIGHTNESS), _MOST_BRIGHTNESS)


def _borders(mask: NDArray[np.bool_]) -> tuple[tuple[NDArray[np.int64], ...], tuple[NDArray[np.int64], ...]]:
    """Returns (rows, columns) of the leftmost and rightmost pixels, without the top and bottom tenth of the rows."""
    rows = np.flatnonzero(mask.any(axis=1))
    rows = rows[len(rows) // 10 : len(rows) - len(rows) // 10]
    left = mask[rows].argmax(axis=1)
    right = mask.shape[1] - 1 - mask[rows, ::-1].argmax(axis=1)
    return (rows, left), (rows, right)


def _straightness(columns: NDArray[np.int64], width: float) -> float:
    """Returns the largest fraction of border pixels within 1 % of the breast's width of a single column."""
    slack = max(1, round(0.01 * width))
    counts = np.bincount(columns)
    return float(np.convolve(counts, np.ones(2 * slack + 1)).max() / len(columns))


def _gray_inside(smooth: NDArray[np.float32], border: tuple[NDArray[np.int64], ...], depth: int) -> float:
    """Returns the median over rows of the maximum gray level within `depth` pixels of a border.

    The pixels are to the right of the border if `depth` is positive, and to its left if it is negative.
    """
    rows, columns = border
    steps = np.sign(depth) * np.arange(1, abs(depth) + 1)
    inside = np.clip(columns[:, None] + steps, 0, smooth.shape[1] - 1)
    return float(np.median(smooth[rows[:, None], inside].max(axis=1)))
