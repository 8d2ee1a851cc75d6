"""Segmentation of the breast on digital mammograms and digitized films.

The segmentation runs on a copy of at most 256 x 256 pixels, in which noise, scratches and the strokes of labels are
averaged out. A full-size mammogram takes about 30 ms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from mtmedformer_monai.transforms.geometry.affine import resize_area

from .threshold import find_threshold

Mask = NDArray[np.bool_]

_SIDE = 256
_MIN_AREA = 0.03
"""Minimum fraction of the image that counts as a breast; smaller bright objects are labels, tape and text."""

_MIN_CONTRAST, _MIN_SIDE = 0.01, 16

_BLACK, _MIN_BLACK = 1e-3, 0.05
"""Gray level above the darkest that is still black, and least fraction of the image that a black background covers."""

_LEAST_FAT = 0.08
"""Minimum gray level of fat relative to that of the core; the background of a film is darker."""

_OTHER_BREAST = 0.5
"""Minimum weight and thickness of a second breast relative to those of the largest component; tape is thinner."""


@dataclass(frozen=True)
class CoarseBreast:
    """A breast segmented on a small copy of its image.

    Attributes:
        picture: float32 (h, w), the small copy.
        mask: bool (h, w), one connected component without holes, or two if the image shows both breasts apart.
    """

    picture: NDArray[np.float32]
    mask: Mask


def find_breast(image: Tensor, margin: float = 0.0) -> Tensor | None:
    """Segments the breast, including other parts of the body that touch it, from the background.

    Args:
        image: float (1, H, W) in [0, 1], brighter is denser.
        margin: width by which the mask is dilated, as a fraction of the image's longer side.

    Returns:
        bool (H, W), one connected component (two if the image shows both breasts apart), or None if no breast is found.
    """
    found = find_coarse_breast(image)
    if found is None:
        return None
    return _enlarge(widen(found.mask, margin), (int(image.shape[-2]), int(image.shape[-1])))


def find_coarse_breast(image: Tensor) -> CoarseBreast | None:
    """Segments the breast on a small copy of the image; see `find_breast`.

    The core of the mask is the largest connected component above Li's threshold that is not uniformly white, as tape
    and label blocks are. The core is then grown to the skin, down to a gray level between that of the breast and that
    of the background *around this breast*, because the padding around a film is darker than the film. A component apart
    from it that is at least half as large is the other breast.

    Args:
        image: float (1, H, W) in [0, 1].

    Returns:
        The breast, or None if none is found.
    """
    picture = coarse_copy(image)
    if min(picture.shape) < _MIN_SIDE or np.ptp(picture) < _MIN_CONTRAST:
        return None
    smooth = ndimage.gaussian_filter(picture, 1.0)
    bright = _bright_parts(picture, smooth)
    cores = _choose_cores(bright, smooth)
    if not cores:
        return None
    mask = _grow(cores[0], bright, smooth)
    for other in cores[1:]:
        if not (mask & other).any():
            mask = mask | _grow(other, bright, smooth)
    return CoarseBreast(picture, mask)


def coarse_copy(image: Tensor, side: int = _SIDE) -> NDArray[np.float32]:
    """Returns a copy (h, w) downsampled by averaging to at most `side` pixels per side; it is never enlarged."""
    values = torch.as_tensor(image).detach().as_subclass(Tensor).reshape(1, *image.shape[-2:])
    skip = max(1, max(values.shape[-2:]) // (8 * side))  # a wider filter costs more without changing the result
    values = values[:, skip // 2 :: skip, skip // 2 :: skip]
    scale = min(1.0, side / max(values.shape[-2:]))
    size = (max(1, round(values.shape[-2] * scale)), max(1, round(values.shape[-1] * scale)))
    return np.ascontiguousarray(resize_area(values.float(), size)[0].numpy())


def _enlarge(mask: Mask, size: tuple[int, int]) -> Tensor:
    """Upsamples a mask (h, w) to (H, W): smoothly by up to a factor of 4, then by nearest neighbor, which is fast."""
    values = torch.from_numpy(mask)[None, None]
    if mask.shape == size:
        return values[0, 0]
    finer = (min(size[0], 4 * mask.shape[0]), min(size[1], 4 * mask.shape[1]))
    smooth = functional.interpolate(values.float(), finer, mode="bilinear", align_corners=False) > 0.5
    enlarged = functional.interpolate(smooth.to(torch.uint8), size, mode="nearest-exact")
    return enlarged[0, 0].bool()


def widen(mask: Mask, margin: float) -> Mask:
    """Dilates a mask by `margin` times its longer side."""
    reach = margin * max(mask.shape)
    if reach <= 0.0 or not mask.any():
        return mask
    return np.asarray(ndimage.distance_transform_edt(~mask) <= reach)


def _bright_parts(picture: NDArray[np.float32], smooth: NDArray[np.float32]) -> Mask:
    """Returns the pixels brighter than the background, without thin objects.

    Uniform white strips are excluded when the threshold is computed.
    """
    contrast = ndimage.maximum_filter(picture, 5) - ndimage.minimum_filter(picture, 5)
    is_white_strip = (picture > 0.9 * picture.max()) & (contrast < 0.02)
    bright = smooth > find_threshold(smooth[~is_white_strip])
    return np.asarray(ndimage.binary_opening(bright, iterations=_steps(picture, 0.008)))


def _choose_cores(bright: Mask, smooth: NDArray[np.float32]) -> list[Mask]:
    """Returns the largest connected component, and then others that are large enough to be the other breast.

    Components are weighted so that uniform white objects do not count as tissue.
    """
    pieces, _ = ndimage.label(bright)
    weights = [_weigh(smooth[where][pieces[where] == i]) for i, where in enumerate(ndimage.find_objects(pieces), 1)]
    order = np.argsort(np.negative(weights), kind="stable")
    cores = [pieces == i + 1 for i in order if weights[i] >= _OTHER_BREAST * max(weights)]
    if not cores or cores[0].mean() < _MIN_AREA:
        return []
    least = _OTHER_BREAST * _thickness(cores[0])
    return [cores[0], *(core for core in cores[1:] if core.mean() >= _MIN_AREA and _thickness(core) >= least)]


def _thickness(mask: Mask) -> float:
    """Returns the radius of the largest disk within a mask, in pixels."""
    return float(ndimage.distance_transform_edt(mask).max())


def _weigh(grays: NDArray[np.float32]) -> float:
    """Returns the number of pixels times a weight for their gray-level range, which exceeds 0.08 in every breast."""
    low, high = np.percentile(grays, [10, 90])
    return len(grays) * float(np.clip((high - low) / 0.08, 0.02, 1.0))


def _grow(core: Mask, bright: Mask, smooth: NDArray[np.float32]) -> Mask:
    """Adds the skin and nipple to the core, removes objects attached by thin bridges, and fills holes."""
    distance = ndimage.distance_transform_edt(~core) / max(core.shape)
    level = float(np.median(smooth[core]))
    background, noise = _background_around(distance, bright, smooth, level)
    skin = background + max(3.0 * noise, 0.04 * (level - background))
    reach = 0.08 if noise > 0.004 * level else 0.5  # a uniform background has few paths away from the breast
    grown = core | ((smooth > skin) & (distance < reach))
    grown = ndimage.binary_propagation(core, mask=grown)
    pieces, _ = ndimage.label(core | _open(grown))
    largest = pieces == int(np.bincount(pieces[core]).argmax())
    return np.asarray(ndimage.binary_fill_holes(largest))


def _background_around(
    distance: NDArray[Any], bright: Mask, smooth: NDArray[np.float32], level: float
) -> tuple[float, float]:
    """Estimates the gray level of the background around the breast and its standard deviation.

    The estimates are the median of a ring around the breast and the spread of the values below the median, because
    scatter near the skin and labels only brighten the background. If a sufficient part of the ring is not black, it is
    either film, whose black padding is ignored, or fat of a digital mammogram whose core is dense tissue alone, around
    which the background is black.
    """
    black = float(smooth.min())
    beside = (distance > 0.06) & (distance < 0.14) & ~ndimage.binary_dilation(bright, iterations=3)
    is_lit = ndimage.binary_erosion(smooth > black + _BLACK, iterations=3, border_value=1)
    lit = smooth[beside & is_lit]
    ring = smooth[beside]
    if len(lit) > 0.12 * len(ring):
        if np.median(lit) - black > _LEAST_FAT * (level - black) and _has_black_background(smooth, black):
            return black, 0.0
        ring = lit
    if len(ring) < 30:
        return black, 0.0
    low, gray = np.percentile(ring, [10, 50])
    return float(gray), float(gray - low) / 1.28  # 10th percentile of a normal distribution


def _has_black_background(smooth: NDArray[np.float32], black: float) -> bool:
    """Returns whether a part of the image is black that is not padding around a film, which is a rectangle."""
    if (smooth <= black + _BLACK).mean() < _MIN_BLACK:
        return False
    rows, columns = np.nonzero(_open(smooth > black + 0.02 * (smooth.max() - black)))
    return len(rows) > 0 and bool(len(rows) < 0.9 * (np.ptp(rows) + 1) * (np.ptp(columns) + 1))


def _open(mask: Mask) -> Mask:
    """Removes structures thinner than 2.5 % of the image, such as the film edge, but keeps corners and the nipple."""
    radius = _steps(mask, 0.012)
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    opened = ndimage.binary_opening(mask, x * x + y * y <= radius * radius)
    return np.asarray(ndimage.binary_dilation(opened, iterations=_steps(mask, 0.008)) & mask)


def _steps(picture: NDArray[Any], part: float) -> int:
    """Converts a fraction of the longer side to pixels, at least 1."""
    return max(1, round(part * max(picture.shape)))
