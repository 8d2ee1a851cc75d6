"""On which side of a mammogram the chest wall lies, as the image itself shows it."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .breast_mask import CoarseBreast

Side = Literal["left", "right", ""]

_CLEAR = 0.5
"""Evidence under which nothing is said. Breasts that fill the picture from side to side lie below, and chests."""


def find_chest_wall(breast: CoarseBreast) -> Side:
    """Tells the side by two signs; '' where they are weak or contradict each other.

    The chest wall's border is straight, for there the film or the detector ends, and the skin's is bent. At the chest
    wall the tissue is cut at its full thickness, so the picture is bright up to the border, and at the skin it fades.

    Args:
        breast: with its chest wall on the left or on the right, wherever padding puts it.

    Returns:
        'left', 'right' or ''.
    """
    score = asymmetry_score(breast)
    if abs(score) < _CLEAR:
        return ""
    return "left" if score > 0.0 else "right"


def asymmetry_score(breast: CoarseBreast) -> float:
    """How much straighter and brighter the left border is than the right one, about -2 to 2."""
    left, right = _borders(breast.mask)
    width = float(np.ptp(np.flatnonzero(breast.mask.any(axis=0)))) + 1.0
    straighter = _straightness(left[1], width) - _straightness(right[1], width)
    smooth = ndimage.gaussian_filter(breast.picture, 1.0)
    depth = max(2, round(0.04 * width))
    brighter = _gray_inside(smooth, left, depth) - _gray_inside(smooth, right, -depth)
    return straighter + brighter / max(float(np.median(smooth[breast.mask])), 1e-6)


def _borders(mask: NDArray[np.bool_]) -> tuple[tuple[NDArray[np.int64], ...], tuple[NDArray[np.int64], ...]]:
    """(rows, columns) of the leftmost and of the rightmost pixel of each row, without the outer tenths of the rows."""
    rows = np.flatnonzero(mask.any(axis=1))
    rows = rows[len(rows) // 10 : len(rows) - len(rows) // 10]
    left = mask[rows].argmax(axis=1)
    right = mask.shape[1] - 1 - mask[rows, ::-1].argmax(axis=1)
    return (rows, left), (rows, right)


def _straightness(columns: NDArray[np.int64], width: float) -> float:
    """Share of a border's rows that lie in one column, give or take a hundredth of the breast's width."""
    slack = max(1, round(0.01 * width))
    counts = np.bincount(columns)
    return float(np.convolve(counts, np.ones(2 * slack + 1)).max() / len(columns))


def _gray_inside(smooth: NDArray[np.float32], border: tuple[NDArray[np.int64], ...], depth: int) -> float:
    """How bright rows get within `depth` pixels to the right of a border, to the left where below 0; their median."""
    rows, columns = border
    steps = np.sign(depth) * np.arange(1, abs(depth) + 1)
    inside = np.clip(columns[:, None] + steps, 0, smooth.shape[1] - 1)
    return float(np.median(smooth[rows[:, None], inside].max(axis=1)))
