"""Hiding of patches in a whole batch, for sites whose batches have no reconstruction task."""

from __future__ import annotations

import torch
from torch import Tensor

from mtmedformer_monai.transforms.augmentation.hide_patches import HIDDEN, hide_patches


def hide_batch(image: Tensor, patch: int, ratio: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Hides random patches of each image, like `HidePatchesd`.

    Args:
        image: (B, 1, H, W) in [0, 1].
        patch: side in pixels.
        ratio: share of the patches to hide.
        generator: on the CPU.

    Returns:
        Images with hidden patches in gray, and the hidden pixels: both (B, 1, H, W), the latter NaN elsewhere.
    """
    rows, columns = (-(-length // patch) for length in image.shape[2:])
    hidden = []
    for each in image:
        chosen = torch.zeros(rows * columns, dtype=torch.bool)
        chosen[torch.randperm(rows * columns, generator=generator)[: round(ratio * rows * columns)]] = True
        hidden.append(hide_patches(each, chosen.reshape(rows, columns).to(image.device), patch))
    where = torch.stack(hidden)
    return torch.where(where, HIDDEN, image), torch.where(where, image, torch.nan)
