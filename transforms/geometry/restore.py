"""Maps predictions back to the pixels of the source image, using the `to_source` affine of the image.

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

from .affine import Affine, as_affine, compose, invert, map_boxes, resample, resize_area, translation
from .canvas import image_of
from .turns import upright_turn

_TINY = 1e-6
"""Tolerance for rounding errors of pixel coordinates."""

SHORTEST_SIDE = 0.01
"""Side in source pixels up to which a box counts as empty, because findings are written in hundredths of a pixel."""


class RestoreToSourced(MapTransform):
    """Maps the activated predictions of one image to source pixels; the rank of a prediction determines its type.

    - Maps (C, h, w) are resampled to (C, H, W).
    - Rows (A, 4 or more) hold a box x1, y1, x2, y2 in columns 0 to 3, which is mapped and clipped to the source. Other
      columns are unchanged. Rows whose box lies outside the source are dropped.
    - Class probabilities (K,) are unchanged.

    Args:
        keys: keys of predictions, each a dict {task: tensor} or a tensor.
        image_key: key of the image whose metadata contain `to_source`.
        allow_missing_keys: whether to skip keys that the item lacks.
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
    """Maps one prediction to source pixels; see `RestoreToSourced`."""
    if pred.ndim == 3:
        return restore_masks(pred, to_source, source_shape)
    if pred.ndim == 2 and pred.shape[1] >= 4:
        boxes = clip_boxes(restore_boxes(pred[:, :4], to_source), source_shape)
        inside = (boxes[:, 2:] - boxes[:, :2] > SHORTEST_SIDE).all(dim=1)
        return torch.cat([boxes, pred[:, 4:]], dim=1)[inside]
    return pred


def restore_boxes(boxes: Tensor, to_source: Affine) -> Tensor:
    """Maps (N, 4) boxes x1, y1, x2, y2 from network pixels to source pixels."""
    return map_boxes(boxes, to_source)


def clip_boxes(boxes: Tensor, source_shape: tuple[int, int]) -> Tensor:
    """Clips (N, 4) boxes x1, y1, x2, y2 to an image of size (H, W); boxes outside the image become empty.

    Example:
        >>> clip_boxes(torch.tensor([[-156.0, 2.0, 3.0, 99.0]]), (10, 20))
        tensor([[ 0.,  2.,  3., 10.]])
    """
    rows, columns = source_shape
    return torch.minimum(boxes.clamp(min=0), boxes.new_tensor([columns, rows, columns, rows]))


def restore_masks(masks: Tensor, to_source: Affine, source_shape: tuple[int, int], mode: str = "bilinear") -> Tensor:
    """Resamples masks or probabilities at the pixels of the source image.

    Args:
        masks: (C, h, w) in network pixels; bool and integers are converted to float32.
        to_source: maps network points to source points.
        source_shape: (H, W).
        mode: 'bilinear' for probabilities, 'nearest' for masks.

    Returns:
        float (C, H, W); 0 in the parts of the source that were outside the network input.
    """
    values = masks if masks.is_floating_point() else masks.to(torch.float32)
    values, to_source = _make_upright(values, to_source)
    left, top, right, bottom = _content_box(to_source, source_shape, (int(values.shape[-2]), int(values.shape[-1])))
    content = values[:, top:bottom, left:right]
    to_source = compose(to_source, translation(left, top))
    if mode != "nearest" and _covers(to_source, source_shape, (bottom - top, right - left)):
        return resize_area(content, source_shape)
    return resample(content, invert(to_source), source_shape, mode)


def _make_upright(values: Tensor, to_source: Affine) -> tuple[Tensor, Affine]:
    """Undoes reflections and rotations by multiples of 90 degrees, without interpolation."""
    turn = upright_turn(to_source)
    matrix = turn.matrix((int(values.shape[-2]), int(values.shape[-1])))
    return turn.apply(values), compose(to_source, invert(matrix))


def _content_box(
    to_source: Affine, source_shape: tuple[int, int], canvas: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Returns the box x1, y1, x2, y2 of network pixels that show the source; the whole canvas if the map rotates.

    The maps are cropped to this box before resampling, so that padding does not bleed into the edge of the image.
    """
    if to_source[0, 1] != 0.0 or to_source[1, 0] != 0.0:
        return 0, 0, canvas[1], canvas[0]
    corners = invert(to_source) @ np.array([[0.0, source_shape[1]], [0.0, source_shape[0]], [1.0, 1.0]])
    x1, y1 = np.floor(corners[:2, 0] + _TINY).astype(int)
    x2, y2 = np.ceil(corners[:2, 1] - _TINY).astype(int)
    left, top = min(max(0, int(x1)), canvas[1] - 1), min(max(0, int(y1)), canvas[0] - 1)
    return left, top, max(min(canvas[1], int(x2)), left + 1), max(min(canvas[0], int(y2)), top + 1)


def _covers(to_source: Affine, source_shape: tuple[int, int], canvas: tuple[int, int]) -> bool:
    """Returns whether a canvas shows exactly the whole source, without rotation or reflection.

    Resizing is then equivalent to resampling but faster, and antialiased if the source is smaller than the canvas.
    """
    whole = np.diag([source_shape[1] / canvas[1], source_shape[0] / canvas[0], 1.0])
    return bool(np.allclose(to_source, whole, rtol=_TINY, atol=_TINY))
