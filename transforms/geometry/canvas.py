"""Maps a whole item, image and targets, to another canvas. The rank of a target determines its type.

A tensor (C, H, W) is a mask or map. A tensor (N, 5) holds boxes x1, y1, x2, y2, class; rows of -1 are unused and NaN
means not annotated. A tensor of lower rank is a label, which geometric transforms leave unchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeGuard, cast

import numpy as np
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from mtmedformer_monai.keys import MetaKey

from .affine import Affine, as_affine, compose, index_affine, invert, map_boxes, map_points

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


def move_map(old: Tensor, to_new: Affine, move: Callable[[Tensor], Tensor]) -> Tensor:
    """Moves masks to a new canvas, where each structure that resampling skips keeps the pixel nearest to its middle.

    A structure is a connected component, with diagonal neighbors: a small lesion must not vanish beside a large one. It
    keeps a pixel if its area rounds to one, so that specks of drawing tools do not become structures; of a mask whose
    structures are all smaller, the largest keeps a pixel.

    Args:
        old: (C, H, W); above 0 is foreground, and NaN is not annotated.
        to_new: maps old points to new ones. A structure outside the new canvas remains absent.
        move: samples (C, H, W) by nearest neighbor on the new canvas (C, h, w), with 0 outside of the old one.

    Returns:
        (C, h, w). Channels without any annotation are NaN everywhere.
    """
    moved = move(old)
    if np.abs(invert(to_new)[:2, :2]).sum(axis=1).max() > 1.0:  # else each old pixel contains a sampled point
        for after, before in zip(moved, old, strict=True):
            _keep_vanished(after, before, to_new, move)
    missing = torch.isnan(old).flatten(1).all(dim=1)
    return torch.where(missing[:, None, None], torch.full_like(moved, float("nan")), moved)


def _keep_vanished(after: Tensor, before: Tensor, to_new: Affine, move: Callable[[Tensor], Tensor]) -> None:
    """Sets a pixel of `after` (h, w) for each structure of `before` (H, W) that was not sampled."""
    labels, count = _label((before > 0).numpy())
    if count == 0 or (count == 1 and (after > 0).any()):
        return
    vanished = np.ones(count + 1, dtype=bool)
    vanished[move(torch.from_numpy(labels)[None].float()).long().numpy()] = False
    area = abs(float(np.linalg.det(to_new[:2, :2]))) * np.bincount(labels.ravel(), minlength=count + 1)[1:]
    is_speck = area < 0.5
    if not (after > 0).any():
        is_speck[area.argmax()] = False
    vanished[0] = False  # the background
    vanished[1:] &= ~is_speck
    if not vanished.any():
        return
    rows, columns = np.nonzero(vanished[labels])
    centers = torch.from_numpy(np.stack([columns, rows], axis=1) + 0.5)
    places = map_points(centers, to_new).floor().long()
    inside = ((places >= 0) & (places < torch.tensor([after.shape[1], after.shape[0]]))).all(dim=1)
    places, structures = places[inside], torch.from_numpy(labels[rows, columns]).long()[inside]
    sums = torch.zeros(count + 1, 2, dtype=torch.float64).index_add_(0, structures, places.double())
    middles = sums / torch.bincount(structures, minlength=count + 1)[:, None]
    distances = (places - middles[structures]).square().sum(dim=1)
    order = np.lexsort((distances.numpy(), structures.numpy()))
    nearest = order[np.unique(structures.numpy()[order], return_index=True)[1]]
    after[places[nearest, 1], places[nearest, 0]] = 1.0


def _label(foreground: NDArray[np.bool_]) -> tuple[NDArray[np.int32], int]:
    """Numbers the structures of a mask (H, W) from 1, and counts them; only their bounding box is searched."""
    labels = np.zeros(foreground.shape, dtype=np.int32)
    rows, columns = (np.flatnonzero(foreground.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return labels, 0
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    labels[box], count = ndimage.label(foreground[box], structure=np.ones((3, 3)))
    return labels, count


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
