"""`Letterboxd`: resizes the whole image to the network input, with padding to keep the aspect ratio."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from torch import Tensor
from torch.nn import functional

from mtmedformer_monai.keys import IMAGE, MetaKey

from .affine import Affine, as_affine, compose, invert, resize_area, resize_nearest, scaling, translation
from .canvas import image_of, is_boxes, is_map, move_boxes, move_map, with_values


class Letterboxd(MapTransform):
    """Resizes images to fit the canvas, with antialiasing, and pads them with 0 around the center.

    Pixels of the canvas are square: an image whose rows and columns have different spacings is stretched.
    Masks and boxes are transformed in the same way. The `to_source` affine of the result maps network pixels to source
    pixels exactly, because the scale is the ratio of two sizes in whole pixels.

    Args:
        keys: key of the image, then the keys of the targets (task names).
        size: side of a square canvas, or (H, W).
        image_key: key of the image whose size the targets share.
        allow_missing_keys: whether targets may be missing, as at inference.
    """

    def __init__(
        self, keys: KeysCollection, size: int | Sequence[int], image_key: str = IMAGE, allow_missing_keys: bool = True
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        height, width = (size, size) if isinstance(size, int) else tuple(size)
        if height < 1 or width < 1:
            raise ValueError(f"size expects whole numbers above 0, got {size}; give one side or (H, W).")
        self.size = (height, width)
        self.image_key = image_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the item on the canvas of the network."""
        item = dict(data)
        image = image_of(item, self.image_key)
        shape = (int(image.shape[-2]), int(image.shape[-1]))
        aspect = _pixel_aspect(image)
        for key in self.key_iterator(item):
            if key == self.image_key:
                values = letterbox_values(image.as_tensor(), self.size, resize_area, aspect).clamp_(0.0, 1.0)
                item[key] = with_values(image, values, letterbox_map(shape, self.size, aspect))
            else:
                item[key] = _letterbox_target(item[key], shape, self.size, aspect)
        return item


def _pixel_aspect(image: MetaTensor) -> float:
    """Returns the height of a pixel over its width in mm, on the present grid; 1 if unknown or within 1 % of it."""
    rows, columns = np.asarray(image.meta.get(MetaKey.SPACING_MM, (np.nan, np.nan)), dtype=np.float64)
    sides = scaling(columns, rows) @ as_affine(image.meta[MetaKey.TO_SOURCE])
    width, height = np.linalg.norm(sides[:2, :2], axis=0)
    known = np.isfinite([width, height]).all() and min(width, height) > 0.0
    return float(height / width) if known and abs(height / width - 1.0) > 0.01 else 1.0


def content_size(shape: tuple[int, int], size: tuple[int, int], pixel_aspect: float = 1.0) -> tuple[int, int]:
    """Returns the size (h, w), in whole pixels, of an image (H, W) that is scaled to fit a canvas.

    Args:
        shape: (H, W) of the image.
        size: (H, W) of the canvas, whose pixels are square.
        pixel_aspect: height of the image's pixels over their width.

    Example:
        >>> content_size((3000, 2500), (512, 512))
        (512, 427)
        >>> content_size((1500, 2500), (512, 512), pixel_aspect=2.0)
        (512, 427)
    """
    height = shape[0] * pixel_aspect
    scale = min(size[0] / height, size[1] / shape[1])
    return max(1, min(size[0], round(height * scale))), max(1, min(size[1], round(shape[1] * scale)))


def letterbox_map(shape: tuple[int, int], size: tuple[int, int], pixel_aspect: float = 1.0) -> Affine:
    """Returns the affine that maps points of the canvas to points of the image.

    Args:
        shape: (H, W) of the image.
        size: (H, W) of the canvas.
        pixel_aspect: height of the image's pixels over their width.
    """
    height, width = content_size(shape, size, pixel_aspect)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return compose(scaling(shape[1] / width, shape[0] / height), translation(-left, -top))


def letterbox_values(values: Tensor, size: tuple[int, int], resize: Any, pixel_aspect: float = 1.0) -> Tensor:
    """Resizes (C, H, W) to its content size and pads it with 0 to the canvas."""
    height, width = content_size((int(values.shape[-2]), int(values.shape[-1])), size, pixel_aspect)
    if (height, width) != tuple(values.shape[-2:]):
        values = resize(values, (height, width))
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    padding = (left, size[1] - width - left, top, size[0] - height - top)
    return functional.pad(values, padding) if any(padding) else values


def _letterbox_target(target: Any, shape: tuple[int, int], size: tuple[int, int], aspect: float) -> Any:
    """Transforms one target; masks are padded with 0, and with NaN in channels that are not annotated."""
    to_new = invert(letterbox_map(shape, size, aspect))
    if is_map(target):
        if tuple(target.shape[-2:]) != shape:
            raise ValueError(f"a target has {tuple(target.shape[-2:])} pixels, its image {shape}; load both together.")
        return move_map(target, to_new, lambda values: letterbox_values(values, size, resize_nearest, aspect))
    if is_boxes(target):
        return move_boxes(target, to_new, size)
    return target
