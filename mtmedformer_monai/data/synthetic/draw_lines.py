"""Draws curves, such as vessels, ducts, spicules and fibers, onto a pixel grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

from mtmedformer_monai.data.array_types import Field

_SAMPLES = 2
"""Supersampling factor for smooth edges."""

_PIECES = 5
"""Number of steps in which a curve tapers."""


@dataclass(frozen=True)
class Curve:
    """A curve whose width and strength may decrease along its length.

    Attributes:
        points: (N, 2), x and y in pixel-edge coordinates.
        width: width at the start, in pixels; at least 0.5.
        strength: value at the start.
        taper: fraction of strength and width that is lost by the end.
    """

    points: NDArray[np.float64]
    width: float
    strength: float
    taper: float = 0.0


def draw_curves(shape: tuple[int, int], curves: Sequence[Curve]) -> Field:
    """Draws curves on a field of zeros, float32 (H, W); where curves cross, the later one is visible."""
    canvas = Image.new("F", (shape[1] * _SAMPLES, shape[0] * _SAMPLES))
    pen = ImageDraw.Draw(canvas)
    for curve in curves:
        steps = len(curve.points) - 1
        for start, end in pairwise(sorted({steps * piece // _PIECES for piece in range(_PIECES + 1)})):
            left = 1.0 - curve.taper * start / steps
            corners = (curve.points[start : end + 1] * _SAMPLES).ravel().tolist()
            pen.line(corners, fill=float(curve.strength * left), width=max(1, round(curve.width * left * _SAMPLES)))
    return np.asarray(canvas.reduce(_SAMPLES), dtype=np.float32)


def wander(
    start: ArrayLike, heading: ArrayLike, step: ArrayLike, count: int, rng: np.random.Generator, turn: float = 0.12
) -> NDArray[np.float64]:
    """Returns the points (..., count + 1, 2) of random walks that turn slightly at each step.

    Args:
        start: x and y of the start, (..., 2).
        heading: initial direction in radians, from the x axis toward the y axis, (...).
        step: length of a step, (...).
        count: number of steps.
        rng: random number generator of the turns.
        turn: standard deviation of the turns, in radians.
    """
    start = np.asarray(start, dtype=np.float64)[..., None, :]
    turns = rng.normal(0.0, turn, (*start.shape[:-2], count))
    headings = np.asarray(heading)[..., None] + np.cumsum(turns, axis=-1)
    steps = np.asarray(step)[..., None, None] * np.stack([np.cos(headings), np.sin(headings)], axis=-1)
    return np.concatenate([start, start + np.cumsum(steps, axis=-2)], axis=-2)
