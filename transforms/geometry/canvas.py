"""Maps a whole item, image and targets, to another canvas. The rank of a target determines its type.

A tensor (C, H, W) is a mask or map. A tensor (N, 5) holds boxes x1, y1, x2, y2, class; rows of -1 are unused and NaN
means not annotated. A tensor of lower rank is a label, which geometric transforms leave unchanged.
"""

from __future__ import annotations

from typing import Any, TypeGuard, cast

import numpy as np
import torch
from monai.data import MetaTensor
from torch import Tensor

from mtmedformer_monai.keys import MetaKey

from .affine import Affine, as_affine, compose, index_affine, map_boxes, map_points

_ROUNDING = 1e-4
"""Tolerance of an affine, in source pixels per pixel and in source pixels: float32 is enough."""

UNUSED = -1.0
"""Fill value of the rows of a detection target that hold no box."""


def move_boxes(target: Tensor, matrix: Affine, size: tuple[int, int], min_visible: float = 0.3) -> Tensor:
    """Maps a detection target to a new canvas, clips the boxes, and drops those that are no longer visible.

    Sides shorter than 1 pixel are widened to 1 pixel inside the canvas: a small lesion must not become background.

    Args:
        target: (N, 5) rows x1, y1, x2, y2, class.
        matrix: maps old pixels to new ones.
        size: (h, w) of the new canvas.
        min_visible: minimum fraction of a box's area that must remain inside the canvas.

    Returns:
        (N, 5). Boxes with less than `min_visible` of their area inside the canvas become rows of -1. Unused rows and
        NaN are unchanged.
    """
    used = target[:, 4] >= 0  # False on -1 and on NaN
    mapped = map_boxes(target[:, :4], matrix)
    limit = torch.tensor([size[1], size[0], size[1], size[0]], dtype=target.dtype)
    clipped = torch.minimum(mapped.clamp(min=0.0), limit)
    sides = clipped[:, 2:] - clipped[:, :2]
    area = (mapped[:, 2:] - mapped[:, :2]).prod(dim=1)
    seen = (sides.clamp(min=0.0).prod(dim=1) >= min_visible * area) & (sides > 0.0).all(dim=1)
    start = torch.minimum((clipped[:, :2] + sides / 2.0 - 0.5).clamp(min=0.0), limit[:2] - 1.0)
    widened = torch.cat([start, start + 1.0], dim=1)
    clipped = torch.where((sides < 1.0).repeat(1, 2), widened, clipped)
    moved = torch.cat([clipped, target[:, 4:]], dim=1)
    moved = torch.where(seen[:, None], moved, torch.full_like(moved, UNUSED))
    return torch.where(used[:, None], moved, target)


def keep_vanished(moved: Tensor, old: Tensor, to_new: Affine) -> Tensor:
    """Sets the pixel nearest to a structure that resampling skipped, which would else count as absent.

    Args:
        moved: (C, h, w) masks after nearest-neighbor sampling; channels without foreground are changed in place.
        old: (C, H, W) masks before it; above 0 is foreground, and NaN is not annotated.
        to_new: maps old points to new ones. A structure outside the new canvas remains absent.

    Returns:
        `moved`.
    """
    limit = torch.tensor([moved.shape[-1], moved.shape[-2]])
    for after, before in zip(moved, old, strict=True):
        if (after > 0).any():
            continue
        centers = torch.nonzero(before > 0).flip(1).double() + 0.5
        places = map_points(centers, to_new).floor().long()
        places = places[((places >= 0) & (places < limit)).all(dim=1)]
        if len(places):
            middle = places.double().mean(dim=0)
            x, y = places[(places - middle).square().sum(dim=1).argmin()]
            after[y, x] = 1.0
    return moved


def is_map(value: Any) -> TypeGuard[Tensor]:
    """Returns whether a value is a (C, H, W) tensor."""
    return isinstance(value, Tensor) and value.ndim == 3


def is_boxes(value: Any) -> TypeGuard[Tensor]:
    """Returns whether a value is an (N, 5) tensor."""
    return isinstance(value, Tensor) and value.ndim == 2 and value.shape[1] == 5


def with_values(image: MetaTensor, values: Tensor, to_old: Affine) -> MetaTensor:
    """Returns new pixel values (1, h, w) with the metadata of the image, updated for the new canvas.

    Args:
        image: the image before the transform.
        values: the pixel values after it.
        to_old: maps pixels of the new canvas to those of the old one; `to_source` is composed with it.
    """
    meta = {key: value for key, value in image.meta.items() if key != "affine"}
    to_source = compose(as_affine(meta[MetaKey.TO_SOURCE]), to_old)
    meta[MetaKey.TO_SOURCE] = to_source
    affine = torch.from_numpy(index_affine(to_source, np.asarray(meta[MetaKey.SPACING_MM], dtype=np.float64)))
    return cast(MetaTensor, MetaTensor(values, affine=affine, meta=meta))


def image_of(item: Any, key: Any) -> MetaTensor:
    """Returns the radiograph of an item.

    Raises:
        ValueError: the value is not a radiograph loaded by `LoadRadiographd`, or a transform of MONAI moved its pixels.
    """
    image = item[key]
    if not isinstance(image, MetaTensor) or MetaKey.TO_SOURCE not in image.meta or image.ndim != 3:
        raise ValueError(
            f"a radiograph (1, H, W) with its metadata is expected under {key!r}; put LoadRadiographd first."
        )
    _check_affine(image, key)
    return cast(MetaTensor, image)


def _check_affine(image: MetaTensor, key: Any) -> None:
    """Refuses an image whose `affine` is not that of `to_source`: MONAI's transforms update only the former."""
    spacing = np.asarray(image.meta.get(MetaKey.SPACING_MM, (np.nan, np.nan)), dtype=np.float64)
    step = np.where(np.isfinite(spacing), spacing, 1.0)[:, None]
    expected = index_affine(as_affine(image.meta[MetaKey.TO_SOURCE]), spacing)[:2] / step
    actual = np.asarray(image.affine.detach().cpu(), dtype=np.float64)[:2] / step
    if not np.allclose(actual, expected, rtol=_ROUNDING, atol=_ROUNDING):
        raise ValueError(
            f"the affine of the image under {key!r} differs from its {MetaKey.TO_SOURCE!r}, so a transform from "
            "outside this package has moved its pixels, and results could not be mapped back to the source; use "
            "Letterboxd instead of Resized or Spacingd, CropBreastd instead of a crop, OrientBreastd or turn_item "
            "instead of Rotate90d or Flipd, and RandGeometryd for augmentation."
        )
