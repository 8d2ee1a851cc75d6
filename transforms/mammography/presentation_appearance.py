"""The look of a mammogram for presentation: the breast flattened to one thickness, then a tone curve.

The periphery is equalized after Bick et al., RadioGraphics 1996;16:1403-1411, and Byng et al., Radiology
1997;203:564-568: a strongly smoothed copy tells how much tissue is missing toward the skin, and that much is added. The
tone curve is DICOM's SIGMOID (PS3.3 C.11.2.1.3.1), as the makers' own windows are.
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
"""Standard deviation of the smoothing as a part of the longer side, about 5 mm."""


@dataclass(frozen=True)
class DensityScale:
    """The grays of one mammogram, in the units of its density.

    Attributes:
        air: beside the breast.
        fat: of compressed fat at full thickness.
        dense: of its densest tissue.
    """

    air: float
    fat: float
    dense: float


def render_mammogram(density: Tensor) -> Tensor | None:
    """Renders attenuation to a mammogram as it is presented.

    Args:
        density: float32 (1, H, W), logarithmic attenuation in any unit, larger behind more tissue.

    Returns:
        float32 (1, H, W) in [0, 1]: air black, fat dark, dense tissue bright; None where no breast is found.
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
    tissue = density.sub(scale.air).div_(0.3 * (scale.fat - scale.air)).clamp_(0.0, 1.0)  # none is added to air
    return apply_tone(added.mul_(tissue).add_(density), scale)


def measure_missing(coarse: NDArray[np.float32], mask: Mask) -> tuple[NDArray[np.float32], DensityScale]:
    """How much less tissue than in the breast's middle the beam passes, on a large scale.

    Args:
        coarse: (h, w) density of a small copy.
        mask: (h, w) of the breast.

    Returns:
        float32 (h, w) of 0 or more, 0 where the tissue is as thick as fat in the breast's middle or denser; and the
        grays once that is added.
    """
    depth = ndimage.distance_transform_edt(np.pad(mask, 1, mode="edge"))[1:-1, 1:-1]
    middle = mask & (depth >= np.percentile(depth[mask], 60))
    fat = float(np.percentile(_smooth_within(coarse, mask)[middle], 25))
    thickness = _smooth_within(np.minimum(coarse, fat), mask)  # else dense tissue would dim the fat beside it
    air = float(np.median(coarse[~mask])) if (~mask).mean() > 0.01 else float(coarse.min())
    missing = np.clip(fat - thickness, 0.0, None).astype(np.float32)
    dense = float(np.percentile((coarse + missing)[mask], 99.5))
    span = max(fat - air, 1e-6)
    return missing, DensityScale(air=fat - span, fat=fat, dense=max(dense, fat + 0.25 * span))


def apply_tone(density: Tensor, scale: DensityScale) -> Tensor:
    """Maps density by a sigmoid that puts fat at about 0.2 and the densest tissue at about 0.85, and air at 0.

    Args:
        density: float32, any shape; it is overwritten.
        scale: of this mammogram.
    """
    span = scale.dense - scale.fat
    center, width = scale.fat + 0.45 * span, 1.25 * span
    black = float(1.0 / (1.0 + np.exp(min(-4.0 * (scale.air - center) / width, 700.0))))
    return density.sub_(center).mul_(4.0 / width).sigmoid_().sub_(black).div_(1.0 - black).clamp_(0.0, 1.0)


def _smooth_within(coarse: NDArray[np.float32], mask: Mask) -> NDArray[np.float32]:
    """A Gaussian mean over the mask's pixels alone; beside the mask, that of the nearest pixels in it."""
    deviation = _SMOOTHING * max(coarse.shape)
    weight = ndimage.gaussian_filter(mask.astype(np.float32), deviation)
    total = ndimage.gaussian_filter(np.where(mask, coarse, 0.0).astype(np.float32), deviation)
    nearest = ndimage.distance_transform_edt(~mask, return_distances=False, return_indices=True)
    smooth = total / np.maximum(weight, 1e-6)
    return np.asarray(smooth[tuple(nearest)], dtype=np.float32)
