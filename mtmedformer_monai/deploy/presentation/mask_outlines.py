"""Outlines of masks along the edges of their pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))
"""(x, y) of the directions right, down, left, up; the next one is a turn to the right."""


def mask_outlines(mask: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Returns the closed outlines of a mask: outer borders clockwise, and holes counterclockwise.

    Coordinates are those of boxes and of DICOM's image-relative graphics: pixel i covers [i, i + 1). The mask is on the
    right of its outline, and pixels that touch only at a corner have separate outlines.

    Args:
        mask: bool (H, W).

    Returns:
        Outlines float64 (N, 2) of (x, y); only corners, with the first point repeated at the end.

    Example:
        >>> mask_outlines(np.array([[False, True, True]]))[0].tolist()
        [[1.0, 0.0], [3.0, 0.0], [3.0, 1.0], [1.0, 1.0], [1.0, 0.0]]
    """
    edges = _directed_edges(mask)
    outlines = []
    while edges:
        start = next(iter(edges))
        outlines.append(np.array(_trace(edges, start), dtype=np.float64))
    return outlines


def _directed_edges(mask: NDArray[np.bool_]) -> dict[tuple[int, int], list[int]]:
    """Returns {corner: directions of the edges that start there} for all edges between mask and background."""
    padded = np.pad(mask.astype(bool), 1)
    inner = padded[1:-1, 1:-1]
    neighbors: list[tuple[Any, int, int]] = [  # neighbor across the edge, and the corner where the edge starts
        (padded[:-2, 1:-1], 0, 0),
        (padded[1:-1, 2:], 1, 0),
        (padded[2:, 1:-1], 1, 1),
        (padded[1:-1, :-2], 0, 1),
    ]
    edges: dict[tuple[int, int], list[int]] = {}
    for direction, (neighbor, right, down) in enumerate(neighbors):
        rows, columns = np.nonzero(inner & ~neighbor)
        for corner in zip((columns + right).tolist(), (rows + down).tolist(), strict=True):
            edges.setdefault(corner, []).append(direction)
    return edges


def _trace(edges: dict[tuple[int, int], list[int]], start: tuple[int, int]) -> list[tuple[int, int]]:
    """Removes the edges of one outline, and returns its corners."""
    point, direction = start, edges[start][0]
    corners = [start]
    while True:
        _remove(edges, point, direction)
        point = (point[0] + _STEPS[direction][0], point[1] + _STEPS[direction][1])
        if point == start and not _continues(edges, point, direction):
            break
        turned = _next_direction(edges[point], direction)
        if turned != direction:
            corners.append(point)
        direction = turned
    return _without_straight_start([*corners, start])


def _continues(edges: dict[tuple[int, int], list[int]], point: tuple[int, int], direction: int) -> bool:
    """Whether the outline goes on through its start, where two pixels of it touch at a corner."""
    return (direction + 1) % 4 in edges.get(point, ())


def _next_direction(options: list[int], direction: int) -> int:
    right = (direction + 1) % 4
    return right if right in options else options[0]


def _remove(edges: dict[tuple[int, int], list[int]], point: tuple[int, int], direction: int) -> None:
    edges[point].remove(direction)
    if not edges[point]:
        del edges[point]


def _without_straight_start(corners: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Starts at the second corner if the first lies on a straight line."""
    (x0, y0), (x1, y1), (x2, y2) = corners[-2], corners[0], corners[1]
    if (x0 == x1 == x2) or (y0 == y1 == y2):
        return [*corners[1:-1], corners[1]]
    return corners
