"""Draws a polygon as a mask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def fill_polygon(corners: Sequence[tuple[float, float]], height: int, width: int) -> NDArray[np.bool_]:
    """Returns the mask of the pixels whose centers lie inside a closed polygon, by the even-odd rule.

    Pillow's polygons also include the pixels along their right and lower edges, and are therefore one pixel too large.

    Args:
        corners: vertices (x, y) in order, in pixel-edge coordinates: pixel i covers [i, i + 1). They may lie outside
            the image.
        height: number of rows, H.
        width: number of columns, W.

    Returns:
        bool (H, W).
    """
    crossings = np.zeros((height, width + 1), dtype=np.int32)
    start = np.asarray(corners, dtype=np.float64)
    for (x1, y1), (x2, y2) in zip(start, np.roll(start, -1, axis=0), strict=True):
        low, high = sorted((y1, y2))
        # Row centers i + 0.5 with low <= i + 0.5 < high; half-open, so that each vertex is crossed once.
        rows = np.arange(max(0, int(np.ceil(low - 0.5))), min(height, int(np.ceil(high - 0.5))))
        if len(rows):
            x = x1 + (rows + 0.5 - y1) * (x2 - x1) / (y2 - y1)
            crossings[rows, np.clip(np.ceil(x - 0.5), 0, width).astype(int)] += 1
    inside: NDArray[np.bool_] = np.cumsum(crossings, axis=1)[:, :width] % 2 == 1
    return inside
