"""Writes the masks that a converter draws or merges."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from mtmedformer_monai.data.array_types import Mask
from mtmedformer_monai.data.datalist import Item
from mtmedformer_monai.data.mask_boxes import box_of_mask

LESION = "lesion"


def save_mask(mask: Mask, path: Path) -> Path:
    """Writes a mask (H, W) as a 1-bit PNG; its folder is made. Returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(mask, dtype=bool)).save(path)
    return path


def annotate_lesions(lesions: Iterable[Mask], size: tuple[int, int], path: Path) -> Item:
    """Writes an image's lesions as one mask, and gives the annotations of its item.

    Args:
        lesions: bool (H, W) each: all that the image has. None gives an empty mask and no box, which says that the
            image was looked at and has no lesion.
        size: (H, W) of the image.
        path: of the PNG.

    Returns:
        `masks` with the absolute path of `lesion`, and `boxes` with a box around each lesion that has pixels.
    """
    merged, boxes = np.zeros(size, dtype=bool), []
    for lesion in lesions:
        merged |= lesion
        if box := box_of_mask(lesion):
            boxes.append(box)
    return {"masks": {LESION: str(save_mask(merged, path).resolve())}, "boxes": {LESION: boxes}}
