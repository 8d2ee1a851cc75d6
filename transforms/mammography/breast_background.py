"""`CleanBackgroundd`: sets everything outside the breast to 0."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform
from torch import Tensor

from mtmedformer_monai.keys import MetaKey
from mtmedformer_monai.transforms.geometry.canvas import image_of
from mtmedformer_monai.transforms.warn_once import WarnOnce

from .breast_mask import find_breast


class CleanBackgroundd(MapTransform):
    """Sets the background of mammograms to 0: markers, labels, tape, film fog. The breast is unchanged.

    Burned-in annotations let a network recognize the hospital, and often the view and the side. Annotations that are
    closer to the skin than the margin remain. Apply this transform before `CropBreastd`. An image in which no breast is
    found (see `find_breast`) is left unchanged, with a warning.

    Args:
        keys: keys of images; targets need no cleaning.
        margin: width of the background to keep along the skin, as a fraction of the image's longer side.
        allow_missing_keys: whether to skip keys that the item lacks.
    """

    def __init__(self, keys: KeysCollection, margin: float = 0.01, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        if margin < 0:
            raise ValueError(f"margin expects a fraction of the longer side, 0 or more, got {margin}.")
        self.margin = margin
        self.warn = WarnOnce(logging.getLogger(__name__))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the item with the background of its images cleaned."""
        item = dict(data)
        for key in self.key_iterator(item):
            image = image_of(item, key)
            cleaned = clean_background(image, self.margin)
            if cleaned is None:
                self.warn(image.meta[MetaKey.FILENAME], "no breast was found, so its background is not cleaned.")
            else:
                item[key] = cleaned
        return item


def clean_background(image: Tensor, margin: float = 0.01) -> Tensor | None:
    """Sets everything outside the breast to 0.

    Args:
        image: float (1, H, W) in [0, 1].
        margin: width of the background to keep along the skin, as a fraction of the longer side.

    Returns:
        Image with the same shape and metadata, or None if no breast is found.
    """
    mask = find_breast(image, margin)
    return None if mask is None else image.masked_fill(~mask, 0.0)
