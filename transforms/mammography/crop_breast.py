"""`CropBreastd`: crops a mammogram to the breast."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform
from torch import Tensor

from mtmedformer_monai.keys import IMAGE, MetaKey
from mtmedformer_monai.transforms.geometry.affine import translation
from mtmedformer_monai.transforms.geometry.canvas import image_of, is_boxes, is_map, move_boxes, with_values
from mtmedformer_monai.transforms.warn_once import WarnOnce

from .breast_mask import find_coarse_breast


class CropBreastd(MapTransform):
    """Crops images to the bounding box of the breast plus a margin.

    Masks and boxes are cropped in the same way, and `to_source` is updated. No part of the breast is lost. An image in
    which no breast is found (see `find_breast`) is not cropped, with a warning.

    Args:
        keys: keys of the image and of the targets (task names); missing targets are skipped.
        margin: margin on each side, as a fraction of the image's longer side.
        image_key: key of the image.
    """

    def __init__(self, keys: KeysCollection, margin: float = 0.02, image_key: str = IMAGE) -> None:
        super().__init__(keys, allow_missing_keys=True)
        if margin < 0:
            raise ValueError(f"margin expects a fraction of the longer side, 0 or more, got {margin}.")
        self.margin = margin
        self.image_key = image_key
        self.warn = WarnOnce(logging.getLogger(__name__))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the cropped item."""
        image = image_of(data, self.image_key)
        box = find_breast_box(image, self.margin)
        if box is None:
            self.warn(image.meta[MetaKey.FILENAME], "no breast was found, so it is not cropped.")
            return dict(data)
        return crop_item(data, box, self.keys, self.image_key)


def find_breast_box(image: Tensor, margin: float = 0.02) -> tuple[int, int, int, int] | None:
    """Returns the bounding box x1, y1, x2, y2 of the breast in whole pixels, clipped to the image.

    Args:
        image: float (1, H, W) in [0, 1].
        margin: margin on each side, as a fraction of the longer side. One pixel of the small copy on which the breast
            is segmented is added to it.

    Returns:
        The box, or None if no breast is found.
    """
    found = find_coarse_breast(image)
    if found is None:
        return None
    height, width = int(image.shape[-2]), int(image.shape[-1])
    reach = margin * max(height, width)
    y1, y2 = _span(found.mask.any(axis=1), height, reach)
    x1, x2 = _span(found.mask.any(axis=0), width, reach)
    return x1, y1, x2, y2


def crop_item(
    data: Mapping[Hashable, Any], box: tuple[int, int, int, int], keys: tuple[Hashable, ...], image_key: str = IMAGE
) -> dict[Hashable, Any]:
    """Crops the image and targets of an item to a box.

    Args:
        data: item with an image (1, H, W), maps (C, H, W) and boxes (N, 5). Boxes are clipped, and dropped if less than
            0.3 of their area remains.
        box: x1, y1, x2, y2 in whole pixels of the image, half-open.
        keys: keys to crop; missing keys are skipped.
        image_key: key of the image.
    """
    item = dict(data)
    image = image_of(item, image_key)
    x1, y1, x2, y2 = box
    for key in keys:
        value = item.get(key)
        if key == image_key:
            cut = image.as_tensor()[:, y1:y2, x1:x2].contiguous()
            item[key] = with_values(image, cut, translation(x1, y1))
        elif is_map(value):
            item[key] = value[:, y1:y2, x1:x2].contiguous()
        elif is_boxes(value):
            item[key] = move_boxes(value, translation(-x1, -y1), (y2 - y1, x2 - x1))
    return item


def _span(covered: Any, length: int, reach: float) -> tuple[int, int]:
    """Returns the range of pixels (start, end) that a coarse mask covers on an axis of `length` pixels, widened."""
    indices = np.flatnonzero(covered)
    step = length / len(covered)
    first = int(np.floor((indices[0] - 1) * step - reach))
    last = int(np.ceil((indices[-1] + 2) * step + reach))
    return max(0, first), min(length, last)
