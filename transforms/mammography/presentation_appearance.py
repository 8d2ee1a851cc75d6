"""Renders a mammogram as for presentation: peripheral equalization followed by a tone curve.

The periphery is equalized after Bick et al., RadioGraphics 1996;16:1403-1411, and Byng et al., Radiology
1997;203:564-568: the missing tissue thickness toward the skin is estimated from a strongly smoothed copy and added. The
tone curve is DICOM's SIGMOID function (PS3.3 C.11.2.1.3.1), which manufacturers also use for their windows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from .breast_mask import Mask, coarse_copy, find_coarse_breast

_SMOOTHING = 0.02
"""Standard deviation of the smoothing filter as a fraction of the longer side, about 5 mm."""


@dataclass(frozen=True)
class DensityScale:
    """Reference gray levels of one mammogram, in the units of its density.

    Attributes:
        air: level of the background.
        fat: level of compressed fat at full thickness.
        dense: level of the densest tissue.
    """

    air: float
    fat: float
    dense: float


def render_mammogram(density: Tensor) -> Tensor | None:
    """Renders X-ray attenuation as a mammogram for presentation.

    Args:
        density: float32 (1, H, W), logarithmic attenuation in any unit, increasing with the amount of tissue.

    Returns:
        float32 (1, H, W) in [0, 1] with black air, dark fat and bright dense tissue, or None if no breast is found.
    """
    coarse = coarse_copy(density)
    low, high = (float(value) for value in np.percentile(coarse, [0.5, 99.5]))
    if high <= low:
        return None
    found = find_coarse_breast(torch.from_numpy(np.clip((coarse - low) / (high - low), 0.0, 1.0))[None])
    if found is None:
        return None
    missing, scale = measure_missing(coarse, found.mask)
    size = (int(density.shape[-2]), int(density.shape[-1]))
    added = functional.interpolate(torch.from_numpy(missing)[None, None], size, mode="bilinear", align_corners=False)[0]
    tissue = density.sub(scale.air).div_(0.3 * (scale.fat - scale.air)).clamp_(0.0, 1.0)  # nothing is added to air
    return apply_tone(added.mul_(tissue).add_(density), scale)


def measure_missing(coarse: NDArray[np.float32], mask: Mask) -> tuple[NDArray[np.float32], DensityScale]:
    """Estimates how much tissue is missing at each pixel compared with the center of the breast.

    Args:
        coarse: (h, w) density of a small copy of the image.
        mask: bool (h, w) of the breast.

    Returns:
        Missing density, float32 (h, w) of 0 or more, which is 0 where the tissue attenuates at least as much as fat in
        the center of the breast; and the gray levels after that density has been added.
    """
    depth = ndimage.distance_transform_edt(np.pad(mask, 1, mode="edge"))[1:-1, 1:-1]
    middle = mask & (depth >= np.percentile(depth[mask], 60))
    fat = float(np.percentile(_smooth_within(coarse, mask)[middle], 25))
    thickness = _smooth_within(np.minimum(coarse, fat), mask)  # otherwise dense tissue would darken the fat around it
    air = float(np.median(coarse[~mask])) if (~mask).mean() > 0.01 else float(coarse.min())
    missing = np.clip(fat - thickness, 0.0, None).astype(np.float32)
    dense = float(np.percentile((coarse + missing)[mask], 99.5))
    span = max(fat - air, 1e-6)
    return missing, DensityScale(air=fat - span, fat=fat, dense=max(dense, fat + 0.25 * span))


def apply_tone(density: Tensor, scale: DensityScale) -> Tensor:
    """Applies a sigmoid tone curve that maps air to 0, fat to about 0.2 and the densest tissue to about 0.85.

    Args:
        density: float32, any shape; modified in place.
        scale: gray levels of this mammogram.
    """
    span = scale.dense - scale.fat
    center, width = scale.fat + 0.45 * span, 1.25 * span
    black = float(1.0 / (1.0 + np.exp(min(-4.0 * (scale.air - center) / width, 700.0))))
    return density.sub_(center).mul_(4.0 / width).sigmoid_().sub_(black).div_(1.0 - black).clamp_(0.0, 1.0)


def _smooth_within(coarse: NDArray[np.float32], mask: Mask) -> NDArray[np.float32]:
    """Smooths with a Gaussian over the mask only; other pixels take the value of the nearest pixel in the mask."""
    deviation = _SMOOTHING * max(coarse.shape)
    weight = ndimage.gaussian_filter(mask.astype(np.float32), deviation)
    total = ndimage.gaussian_filter(np.where(mask, coarse, 0.0).astype(np.float32), deviation)
    nearest = ndimage.distance_transform_edt(~mask, return_distances=False, return_indices=True)
    smooth = total / np.maximum(weight, 1e-6)
    return np.asarray(smooth[tuple(nearest)], dtype=np.float32)
