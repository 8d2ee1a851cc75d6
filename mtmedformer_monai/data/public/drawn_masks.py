"""Writes the masks that a converter draws or merges, and recognizes masks that show nothing."""

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
    """Writes a mask (H, W) as a 1-bit PNG; its folder is made. Returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(mask, dtype=bool)).save(path)
    return path


def read_drawn(path: Path) -> Mask | None:
    """Reads a mask of the set; None where nothing is drawn: a file without content, or without a pixel in it.

    For structures that every image has: an empty mask of the lungs was never drawn.
    """
    mask = read_mask(path) if path.stat().st_size else None
    if mask is not None and mask.any():
        return mask
    logger.warning("%s shows nothing, and counts as not annotated.", path.name)
    return None


def annotate_lesions(lesions: Iterable[Mask], size: tuple[int, int], path: Path) -> Item:
    """Writes an image's lesions as one mask, and gives the annotations of its item.

    Args:
        lesions: bool (H, W) each: all that the image has. None gives an empty mask and no box, which says that the
            image was read and has no lesion.
        size: (H, W) of the image.
        path: of the PNG.

    Returns:
        `masks` with the absolute path of `lesion`, and `boxes` with a box around each lesion. Nothing where a lesion
        has no pixel (it lies beside the image, or has no area): the rest would not be all.
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
