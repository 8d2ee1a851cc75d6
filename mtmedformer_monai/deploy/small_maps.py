"""Images and masks in the size of drawings, and maps in 256 steps."""

# C structures, H, W source pixels, h, w pixels of the drawing

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

DRAWING_SIDE = 1024
"""Longer side of drawings in pixels; a larger source is reduced, a smaller one is kept."""

MAX_STEP = 255
_BLOCK = 1 << 16
"""Pixels that are converted at once."""


@dataclass(frozen=True)
class SmallMaps:
    """Picture uint8 (h, w), brighter is denser, and masks {segmentation task: bool (C, h, w)}."""

    picture: NDArray[np.uint8]
    masks: Mapping[str, NDArray[np.bool_]]


def reduce_maps(picture: NDArray[np.float32], masks: Mapping[str, NDArray[np.bool_]]) -> SmallMaps:
    """Reduces a picture (H, W) in [0, 1] and masks (C, H, W) to `DRAWING_SIDE`.

    A pixel of a reduced mask belongs to it if at least half of its area does.
    """
    reduced = {task: np.stack([_reduce_mask(mask) for mask in channels]) for task, channels in masks.items()}
    return SmallMaps(reduce(to_steps(picture), DRAWING_SIDE), reduced)


def _reduce_mask(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    if fit((mask.shape[0], mask.shape[1]), DRAWING_SIDE) == mask.shape:
        return mask
    values = np.ascontiguousarray(mask).view(np.uint8) * np.uint8(255)
    return np.asarray(reduce(values, DRAWING_SIDE) >= 128)


def fit(shape: tuple[int, int], longest: int) -> tuple[int, int]:
    """Returns (h, w) of an image (H, W) reduced to a longer side; each is 1 or more.

    Example:
        >>> fit((3000, 1500), 1000), fit((30, 15), 1000)
        ((1000, 500), (30, 15))
    """
    scale = min(1.0, longest / max(shape))
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def reduce(values: NDArray[Any], longest: int) -> NDArray[Any]:
    """Reduces uint8 or float32 (H, W) to a longer side, by area."""
    height, width = fit((values.shape[0], values.shape[1]), longest)
    if (height, width) == values.shape:
        return values
    # the gap lets Pillow average whole blocks first, several times faster, if the image is much larger
    return np.asarray(Image.fromarray(values).resize((width, height), Image.Resampling.BOX, reducing_gap=2.0))


def to_steps(values: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Returns values in [0, 1] as the nearest of 256 steps; values outside are clipped, and NaN is 0.

    Example:
        >>> to_steps(np.array([[0.0, 0.5, 1.0, 1.5, np.nan]])).tolist()
        [[0, 128, 255, 255, 0]]
    """
    flat = np.ascontiguousarray(values).reshape(-1)
    steps = np.empty(flat.shape, dtype=np.uint8)
    for start in range(0, len(flat), _BLOCK):  # temporary arrays of a whole radiograph do not fit into the cache
        part = flat[start : start + _BLOCK] * np.float32(MAX_STEP)
        if not (part.min() >= 0.0 and part.max() <= MAX_STEP):  # also if NaN occurs
            part = np.clip(np.nan_to_num(part), 0.0, MAX_STEP)
        part += 0.5
        steps[start : start + _BLOCK] = part
    return steps.reshape(values.shape)
