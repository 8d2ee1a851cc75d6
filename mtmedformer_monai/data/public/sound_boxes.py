"""Cleans the boxes of public datasets: clips them to the image and removes boxes without area."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

Box = list[float]
"""x1, y1, x2, y2 in pixels of the image, half-open intervals."""

DECIMALS = 3


def sound_boxes(boxes: Iterable[Sequence[float]], size: tuple[int, int] | None) -> list[Box] | None:
    """Clips boxes to the image, sorts their corners, and removes boxes without area.

    Args:
        boxes: x1, y1, x2, y2 of each box.
        size: (H, W) of the image; None if unknown, in which case boxes are not clipped.

    Returns:
        The remaining boxes. None (not annotated) if there were boxes but none remains, since the image then contains an
        object at an unknown location.

    Example:
        >>> sound_boxes([(-2, 8, 4, 1), (9, 0, 12, 3)], (8, 9))
        [[0.0, 1.0, 4.0, 8.0]]
        >>> sound_boxes([(9, 0, 12, 3)], (8, 9)) is None, sound_boxes([], (8, 9))
        (True, [])
    """
    given = list(boxes)
    kept = [clipped for box in given if (clipped := _clip(box, size))]
    return None if given and not kept else kept


def corners_of(x: float, y: float, width: float, height: float) -> Box:
    """Converts x, y, width and height to x1, y1, x2, y2."""
    return [x, y, x + width, y + height]


def _clip(box: Sequence[float], size: tuple[int, int] | None) -> Box | None:
    if not all(map(math.isfinite, box)):
        return None
    height, width = size or (math.inf, math.inf)
    (x1, x2), (y1, y2) = sorted((box[0], box[2])), sorted((box[1], box[3]))
    clipped = [max(x1, 0.0), max(y1, 0.0), min(x2, width), min(y2, height)]
    rounded = [round(float(value), DECIMALS) for value in clipped]
    return rounded if rounded[0] < rounded[2] and rounded[1] < rounded[3] else None
