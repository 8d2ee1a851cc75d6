"""`HidePatchesd`: masked image modeling, to pretrain networks on unlabeled images."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtmedformer_monai.keys import IMAGE
from mtmedformer_monai.transforms.geometry.canvas import image_of, with_values

from .random_transform import RandomTransformd

HIDDEN = 0.5
"""Gray level of hidden pixels, which is 0 at the first layer of the network."""


class HidePatchesd(RandomTransformd):
    """Hides square patches of the image; the hidden pixels become a target (1, H, W) that is NaN elsewhere.

    Patches that contain only background (0) are not hidden, because there is nothing to learn from them.

    Args:
        target: key of the target, the name of a `ReconstructionTask`.
        patch: side of a patch in pixels; a multiple of the encoder's coarsest stride hides whole tokens.
        ratio: fraction of the patches to hide (SimMIM hides 0.6 of the 32 x 32 patches).
        image_key: key of the image.
    """

    def __init__(
        self, target: str = "reconstruction", patch: int = 32, ratio: float = 0.6, image_key: str = IMAGE
    ) -> None:
        super().__init__(image_key, prob=1.0)
        if patch < 1:
            raise ValueError(f"patch expects a side of 1 pixel or more, got {patch}.")
        if not 0.0 < ratio < 1.0:
            raise ValueError(f"ratio expects a fraction between 0 and 1, got {ratio}.")
        self.target = target
        self.patch = patch
        self.ratio = ratio
        self.image_key = image_key
        self._order: NDArray[np.int64] = np.zeros(0, dtype=np.int64)

    def draw(self, item: Mapping[Hashable, Any]) -> None:
        """Draws the order in which patches are hidden."""
        rows, columns = self._grid(item)
        self._order = self.R.permutation(rows * columns)

    def apply(self, item: dict[Hashable, Any]) -> dict[Hashable, Any]:
        """Hides patches and adds the target."""
        image, grid = image_of(item, self.image_key), self._grid(item)
        chosen = torch.zeros(grid, dtype=torch.bool)
        chosen.view(-1)[torch.from_numpy(self._order[: round(self.ratio * len(self._order))])] = True
        pixels = image.as_tensor()
        hidden = hide_patches(pixels, chosen, self.patch)
        item[self.target] = torch.where(hidden, pixels, torch.nan)
        item[self.image_key] = with_values(image, torch.where(hidden, HIDDEN, pixels), np.eye(3))
        return item

    def _grid(self, item: Mapping[Hashable, Any]) -> tuple[int, int]:
        """Returns the number of rows and columns of patches."""
        height, width = image_of(item, self.image_key).shape[-2:]
        return -(-int(height) // self.patch), -(-int(width) // self.patch)


def hide_patches(image: Tensor, chosen: Tensor, patch: int) -> Tensor:
    """Returns a mask of the pixels to hide.

    Args:
        image: (1, H, W).
        chosen: bool (rows, columns), one value per patch.
        patch: side of a patch in pixels; the image border may truncate the last row and column of patches.

    Returns:
        bool (1, H, W), True in the chosen patches that contain more than background.
    """
    height, width = image.shape[-2:]
    pixels = chosen.repeat_interleave(patch, dim=0).repeat_interleave(patch, dim=1)[:height, :width]
    seen = torch.nn.functional.max_pool2d((image > 0).float(), patch, ceil_mode=True)[0] > 0
    return (pixels & seen.repeat_interleave(patch, dim=0).repeat_interleave(patch, dim=1)[:height, :width])[None]
