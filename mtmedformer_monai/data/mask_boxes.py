"""Computes bounding boxes of masks."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from mtmedformer_monai.data.array_types import Mask

Box = list[float]
"""x1, y1, x2, y2 in pixels, half-open intervals."""


def box_of(place: tuple[slice, ...]) -> Box:
    """Returns the box of a pair of slices, (rows, columns)."""
    rows, columns = place
    return [float(columns.start), float(rows.start), float(columns.stop), float(rows.stop)]


def boxes_of_parts(mask: Mask, min_area: float) -> tuple[Mask, list[Box]]:
    """Returns the bounding boxes of a mask's connected components (8-connectivity).

    Args:
        mask: bool (H, W).
        min_area: minimum area of a component in pixels; smaller ones are removed.

    Returns:
        The mask without the removed components, and one box per remaining component.
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
    """Returns the bounding box of a mask; None if the mask is empty."""
    places = ndimage.find_objects(mask.astype(np.uint8))
    return box_of(places[0]) if places else None
