"""`CropBreastd`: the part of a mammogram that holds the breast."""

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
    """Crops images to the breast's box and a margin; masks and boxes follow, and `to_source` keeps the way back.

    Nothing of the breast is lost. An image without one (see `find_breast`) stays whole, with a warning.

    Args:
        keys: the image's key, and the targets' (task names); missing targets are passed over.
        margin: on each side, as a part of the image's longer side.
        image_key: key of the image.
    """

    def __init__(self, keys: KeysCollection, margin: float = 0.02, image_key: str = IMAGE) -> None:
        super().__init__(keys, allow_missing_keys=True)
        if margin < 0:
            raise ValueError(f"margin expects a part of the longer side, 0 or more, got {margin}.")
        self.margin = margin
        self.image_key = image_key
        self.warn = WarnOnce(logging.getLogger(__name__))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the item cropped."""
        image = image_of(data, self.image_key)
        box = find_breast_box(image, self.margin)
        if box is None:
            self.warn(image.meta[MetaKey.FILENAME], "no breast is found in it, so it is not cropped.")
            return dict(data)
        return crop_item(data, box, self.keys, self.image_key)


def find_breast_box(image: Tensor, margin: float = 0.02) -> tuple[int, int, int, int] | None:
    """The box x1, y1, x2, y2 around the breast, in whole pixels within the image; None where there is no breast.

    Args:
        image: float (1, H, W) in [0, 1].
        margin: on each side, as a part of the longer side. A pixel of the small copy on which the breast is looked for
            comes on top.
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
    """Cuts a box out of an item's image and targets.

    Args:
        data: item with an image (1, H, W), maps (C, H, W) and boxes (N, 5); boxes are clipped, and dropped where less
            than 0.3 of them remain.
        box: x1, y1, x2, y2 in whole pixels of the image, half open.
        keys: what to crop; those missing are passed over.
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
    """First and last pixel of an axis that a coarse mask covers, widened, on an axis of `length` pixels."""
    places = np.flatnonzero(covered)
    step = length / len(covered)
    first = int(np.floor((places[0] - 1) * step - reach))
    last = int(np.ceil((places[-1] + 2) * step + reach))
    return max(0, first), min(length, last)
