"""Draws an ellipse as a mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def fill_ellipse(
    center: tuple[float, float], radii: tuple[float, float], height: int, width: int, angle: float = 0.0
) -> NDArray[np.bool_]:
    """Returns the mask of the pixels whose centers lie inside an ellipse.

    Args:
        center: (x, y) in pixel-edge coordinates: pixel i covers [i, i + 1). It may lie outside the image.
        radii: radii along x and y before the rotation.
        height: number of rows, H.
        width: number of columns, W.
        angle: rotation in radians, clockwise on the screen.

    Returns:
        bool (H, W).
    """
    reach = max(radii)
    mask = np.zeros((height, width), dtype=bool)
    if reach <= 0:
        return mask
    (left, right), (top, bottom) = _span(center[0], reach, width), _span(center[1], reach, height)
    dx = np.arange(left, right) + 0.5 - center[0]
    dy = (np.arange(top, bottom) + 0.5 - center[1])[:, None]
    along = (dx * np.cos(angle) + dy * np.sin(angle)) / max(radii[0], 1e-9)
    across = (dy * np.cos(angle) - dx * np.sin(angle)) / max(radii[1], 1e-9)
    mask[top:bottom, left:right] = along**2 + across**2 <= 1
    return mask


def _span(middle: float, reach: float, length: int) -> tuple[int, int]:
    """Returns the half-open range of pixels that the ellipse can overlap."""
    first = min(max(int(np.floor(middle - reach)), 0), length)
    return first, max(first, min(int(np.ceil(middle + reach)), length))
