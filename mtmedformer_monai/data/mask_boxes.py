"""Boxes around what a mask shows."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from mtmedformer_monai.data.array_types import Mask

Box = list[float]
"""x1, y1, x2, y2 in pixels, half open."""


def box_of(place: tuple[slice, ...]) -> Box:
    """The box of an array's rows and columns."""
    rows, columns = place
    return [float(columns.start), float(rows.start), float(columns.stop), float(rows.stop)]


def boxes_of_parts(mask: Mask, min_area: float) -> tuple[Mask, list[Box]]:
    """Boxes around the connected parts of a mask (corners connect).

    Args:
        mask: bool (H, W).
        min_area: parts of fewer pixels are taken out.

    Returns:
        The mask that is left, and a box a part.
    """
    kept, boxes = mask.copy(), []
    labels, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    for number, place in enumerate(ndimage.find_objects(labels), start=1):
        part = labels[place] == number
        if part.sum() < min_area:
            kept[place][part] = False
        else:
            boxes.append(box_of(place))
    return kept, boxes


def box_of_mask(mask: Mask) -> Box | None:
    """The box around a whole mask; None where it is empty."""
    places = ndimage.find_objects(mask.astype(np.uint8))
    return box_of(places[0]) if places else None
