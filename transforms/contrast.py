"""`StretchContrastd`: scales each image to [0, 1] between its own percentiles."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from torch import Tensor

_MAX_SAMPLES = 2**20


class StretchContrastd(MapTransform):
    """Stretches radiographs between two percentiles of their pixels, to reduce differences between scanners.

    Args:
        keys: keys of images in [0, 1].
        lower: percentile that becomes 0.
        upper: percentile that becomes 1.
        allow_missing_keys: whether to skip keys that the item lacks.
    """

    def __init__(
        self, keys: KeysCollection, lower: float = 0.5, upper: float = 99.5, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if not 0.0 <= lower < upper <= 100.0:
            raise ValueError(f"lower and upper expect 0 <= lower < upper <= 100 percent, got {lower} and {upper}.")
        self.lower, self.upper = lower, upper

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the item with the contrast of its images stretched."""
        item = dict(data)
        for key in self.key_iterator(item):
            item[key] = stretch_contrast(item[key], self.lower, self.upper)
        return item


def stretch_contrast(image: Tensor, lower: float = 0.5, upper: float = 99.5) -> Tensor:
    """Maps the lower and upper percentiles of an image to 0 and 1, and clips to that range.

    Pixels of 0 are excluded from the percentiles and remain 0: padding and the bars of a letterboxed image are 0, and
    their number must not affect the contrast. Images with more than a million pixels are subsampled evenly.

    Args:
        image: float (C, H, W) in [0, 1].
        lower: percentile that becomes 0.
        upper: percentile that becomes 1.

    Returns:
        Image with the same shape and metadata; a constant image is returned unchanged.

    Example:
        >>> stretch_contrast(torch.tensor([[[0.0, 0.2, 0.3, 0.4]]]), 0, 100).round(decimals=4).tolist()
        [[[0.0, 0.0, 0.5, 1.0]]]
    """
    values = torch.as_tensor(image).detach().flatten().as_subclass(Tensor)
    values = values[values > 0]
    values = values[:: max(1, len(values) // _MAX_SAMPLES)]
    if len(values) == 0:
        return image
    low, high = torch.quantile(values[: 2 * _MAX_SAMPLES], torch.tensor([lower, upper]) / 100.0).tolist()
    if high <= low:
        return image
    stretched: Tensor = ((image - low) / (high - low)).clamp(0.0, 1.0)
    return stretched
