"""Draws curves onto a field: vessels, ducts, spicules, fibers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

from mtmedformer_monai.data.array_types import Field

_SAMPLES = 2
"""Drawn this many times larger, and averaged: smooth edges."""

_PIECES = 5
"""A curve tapers in so many steps."""


@dataclass(frozen=True)
class Curve:
    """A line that may change on its way.

    Attributes:
        points: (N, 2) x and y in pixel-edge coordinates.
        width: in pixels, at the start; 0.5 at least.
        strength: at the start.
        taper: share of strength and width that is lost by the end.
    """

    points: NDArray[np.float64]
    width: float
    strength: float
    taper: float = 0.0


def draw_curves(shape: tuple[int, int], curves: Sequence[Curve]) -> Field:
    """Draws curves on a field of 0 (H, W); where they cross, the later one is seen."""
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
    """Points (..., count + 1, 2) of walks that turn a little at each step.

    Args:
        start: x and y (..., 2).
        heading: radians from the x axis toward y (...).
        step: length of one (...).
        count: of steps.
        rng: draws the turns.
        turn: their deviation in radians.
    """
    start = np.asarray(start, dtype=np.float64)[..., None, :]
    turns = rng.normal(0.0, turn, (*start.shape[:-2], count))
    headings = np.asarray(heading)[..., None] + np.cumsum(turns, axis=-1)
    steps = np.asarray(step)[..., None, None] * np.stack([np.cos(headings), np.sin(headings)], axis=-1)
    return np.concatenate([start, start + np.cumsum(steps, axis=-2)], axis=-2)
