"""Writes the masks that converters draw or merge, and recognizes empty masks."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from mtmedformer_monai.data.array_types import Mask
from mtmedformer_monai.data.datalist import Item
from mtmedformer_monai.data.mask_boxes import box_of_mask
from mtmedformer_monai.transforms.read_mask import read_mask
from mtmedformer_monai.transforms.read_picture import open_picture

logger = logging.getLogger(__name__)

LESION = "lesion"
_HALF_OF_WHITE = 128


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


def read_lossy(path: Path) -> tuple[Mask, bool]:
    """Reads a black and white mask that may have been compressed as JPEG, which leaves values between 0 and 255.

    Args:
        path: a PNG or JPEG file; a PNG file may be a converted JPEG file.

    Returns:
        The mask, bool (H, W), with the pixels of at least half of white if there are more than two values; and whether
        `read_mask` reads the same from the file.
    """
    with open_picture(path, ("PNG", "JPEG")) as picture:
        if picture.format == "PNG" and len(np.unique(np.asarray(picture))) <= 2:
            return read_mask(path), True
        return np.asarray(ImageOps.exif_transpose(picture).convert("L")) >= _HALF_OF_WHITE, False


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
