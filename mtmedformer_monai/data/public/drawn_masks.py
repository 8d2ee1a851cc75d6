"""Writes the masks that converters draw or merge, and recognizes empty masks."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from mtmedformer_monai.data.array_types import Mask
from mtmedformer_monai.data.datalist import Item
from mtmedformer_monai.data.mask_boxes import box_of_mask
from mtmedformer_monai.transforms.read_mask import read_mask

logger = logging.getLogger(__name__)

LESION = "lesion"


def save_mask(mask: Mask, path: Path) -> Path:
    """Writes a mask (H, W) as a 1-bit PNG, creates its folder if necessary, and returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(mask, dtype=bool)).save(path)
    return path


def read_drawn(path: Path) -> Mask | None:
    """Reads a mask; None if the file or the mask is empty.

    To be used for structures that every image shows, such as the lungs, whose empty masks mean 'not annotated'.
    """
    mask = read_mask(path) if path.stat().st_size else None
    if mask is not None and mask.any():
        return mask
    logger.warning("%s is empty and counts as not annotated.", path.name)
    return None


def annotate_lesions(lesions: Iterable[Mask], size: tuple[int, int], path: Path) -> Item:
    """Writes the lesions of an image as one mask, and returns the annotations of its item.

    Args:
        lesions: masks of all lesions of the image, bool (H, W) each. If there are none, the mask is empty and there is
            no box, which means that the image was read and has no lesion.
        size: (H, W) of the image.
        path: path of the PNG file to write.

    Returns:
        `masks` with the absolute path of `lesion`, and `boxes` with one box per lesion. Empty if a lesion has no pixel
        (because it lies outside the image or has no area), since the annotations would be incomplete.
    """
    merged, boxes = np.zeros(size, dtype=bool), []
    for lesion in lesions:
        box = box_of_mask(lesion)
        if box is None:
            logger.warning("%s: a lesion has no pixel in its image; its lesions are not annotated.", path.stem)
            return {}
        merged |= lesion
        boxes.append(box)
    return {"masks": {LESION: str(save_mask(merged, path).resolve())}, "boxes": {LESION: boxes}}
