"""Predictions back onto the source image's pixels, through the image's `to_source`.

Axis legend: C structures, A anchors or boxes, K classes; h, w network pixels, H, W source pixels.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from torch import Tensor

from mtmedformer_monai.keys import IMAGE, PRED, MetaKey

from .frame import image_of
from .geometry import Affine, as_affine, invert, map_boxes, resample, resize_area


class RestoreToSourced(MapTransform):
    """Maps one image's activated predictions to source pixels; each one's rank says what it is.

    (C, h, w) maps become (C, H, W); rows (A, 4 or more) have their columns 0 to 3, a box x1, y1, x2, y2, mapped, and
    the other columns left alone; (K,) class probabilities stay.

    Args:
        keys: keys of predictions: a dict {task: tensor}, or a tensor.
        image_key: key of the image whose metadata hold `to_source`.
        allow_missing_keys: leave an item without the key as it is.
    """

    def __init__(self, keys: KeysCollection = PRED, image_key: str = IMAGE, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.image_key = image_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the item with predictions in source pixels."""
        item = dict(data)
        meta = image_of(item, self.image_key).meta
        to_source = as_affine(meta[MetaKey.TO_SOURCE])
        rows, columns = (int(length) for length in meta[MetaKey.SOURCE_SHAPE])
        for key in self.key_iterator(item):
            value = item[key]
            if isinstance(value, Mapping):
                item[key] = {name: restore(pred, to_source, (rows, columns)) for name, pred in value.items()}
            else:
                item[key] = restore(value, to_source, (rows, columns))
        return item


def restore(pred: Tensor, to_source: Affine, source_shape: tuple[int, int]) -> Tensor:
    """Maps one prediction to source pixels, as `RestoreToSourced` says."""
    if pred.ndim == 3:
        return restore_masks(pred, to_source, source_shape)
    if pred.ndim == 2 and pred.shape[1] >= 4:
        return torch.cat([restore_boxes(pred[:, :4], to_source), pred[:, 4:]], dim=1)
    return pred


def restore_boxes(boxes: Tensor, to_source: Affine) -> Tensor:
    """Maps (N, 4) boxes x1, y1, x2, y2 of network pixels to source pixels."""
    return map_boxes(boxes, to_source)


def restore_masks(masks: Tensor, to_source: Affine, source_shape: tuple[int, int], mode: str = "bilinear") -> Tensor:
    """Samples masks or probabilities at the source's pixels.

    Args:
        masks: (C, h, w) in network pixels; bool and integers are taken as float32.
        to_source: maps network points to source points.
        source_shape: (H, W).
        mode: 'bilinear' for probabilities, 'nearest' for masks.

    Returns:
        float (C, H, W); 0 where the network saw nothing of the source.
    """
    values = masks if masks.is_floating_point() else masks.to(torch.float32)
    content = _content_box(to_source, source_shape, (int(masks.shape[-2]), int(masks.shape[-1])))
    if content is None or mode == "nearest":
        return resample(values, invert(to_source), source_shape, mode)
    left, top, right, bottom = content
    return resize_area(values[:, top:bottom, left:right], source_shape)


def _content_box(
    to_source: Affine, source_shape: tuple[int, int], frame: tuple[int, int]
) -> tuple[int, int, int, int] | None:
    """The network pixels (x1, y1, x2, y2) that hold the whole source, where they are whole ones and upright.

    Then cutting and resizing gives what sampling would, quicker, without mixing padding into the image's edge, and
    antialiased where the source is smaller than the network's frame.
    """
    if to_source[0, 1] != 0.0 or to_source[1, 0] != 0.0 or to_source[0, 0] <= 0.0 or to_source[1, 1] <= 0.0:
        return None
    corners = invert(to_source) @ np.array([[0.0, source_shape[1]], [0.0, source_shape[0]], [1.0, 1.0]])
    x1, y1, x2, y2 = (round(float(corners[axis, end])) for end in (0, 1) for axis in (0, 1))
    is_whole = np.allclose(corners[:2].T.ravel(), (x1, y1, x2, y2), atol=1e-6)
    is_inside = 0 <= x1 < x2 <= frame[1] and 0 <= y1 < y2 <= frame[0]
    return (x1, y1, x2, y2) if is_whole and is_inside else None
