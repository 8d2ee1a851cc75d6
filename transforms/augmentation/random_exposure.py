"""`RandExposured`: random gamma, contrast, brightness, noise and blur, to simulate other scanners and doses."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import GaussianSmooth
from torch import Tensor

from .random_transform import RandomTransformd


@dataclass(frozen=True)
class Exposure:
    """A change of exposure and processing.

    Attributes:
        gamma: exponent of the gray values; above 1 darkens.
        contrast: factor applied around the gray level 0.5.
        brightness: offset of the gray values.
        noise: standard deviation of the quantum noise in the densest tissue.
        blur: standard deviation of the Gaussian blur in pixels.
        seed: seed of the noise.
    """

    gamma: float = 1.0
    contrast: float = 1.0
    brightness: float = 0.0
    noise: float = 0.0
    blur: float = 0.0
    seed: int = 0


class RandExposured(RandomTransformd):
    """Changes gray values randomly within [0, 1]; geometry and targets are unchanged.

    Args:
        keys: keys of images in [0, 1].
        prob: probability that an item is changed.
        max_gamma: 0.3 draws exponents between 1 / 1.3 and 1.3.
        max_contrast: 0.2 draws factors between 1 / 1.2 and 1.2.
        max_brightness: 0.1 adds between -0.1 and 0.1.
        max_noise: largest standard deviation of the noise in the densest tissue.
        max_blur: largest standard deviation of the blur in pixels.
    """

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.9,
        max_gamma: float = 0.3,
        max_contrast: float = 0.2,
        max_brightness: float = 0.1,
        max_noise: float = 0.03,
        max_blur: float = 0.7,
    ) -> None:
        super().__init__(keys, prob)
        self.limits = (max_gamma, max_contrast, max_brightness, max_noise, max_blur)
        if min(self.limits) < 0:
            raise ValueError(
                f"RandExposured expects limits of 0 or more, got {self.limits}; each is drawn in both directions."
            )
        self.exposure = Exposure()

    def draw(self, item: Mapping[Hashable, Any]) -> None:
        """Draws the exposure."""
        gamma, contrast, brightness, noise, blur = self.limits
        either = self.R.uniform(-1.0, 1.0, size=3)
        once = self.R.uniform(0.0, 1.0, size=2)
        self.exposure = Exposure(
            gamma=float((1.0 + gamma) ** either[0]),
            contrast=float((1.0 + contrast) ** either[1]),
            brightness=float(brightness * either[2]),
            noise=float(noise * once[0]),
            blur=float(blur * once[1]),
            seed=int(self.R.randint(2**31)),
        )

    def apply(self, item: dict[Hashable, Any]) -> dict[Hashable, Any]:
        """Applies the drawn exposure to the images of the item."""
        for key in self.key_iterator(item):
            item[key] = expose(item[key], self.exposure)
        return item


def expose(image: Tensor, exposure: Exposure) -> Tensor:
    """Applies an exposure to an image.

    The order is blur, then gamma, contrast and brightness, then noise. The noise model is that of photon counting: the
    number N of photons detected behind tissue of density y is proportional to exp(-a y), and the logarithm of a count
    has the standard deviation 1 / sqrt(N). The standard deviation of the noise is therefore proportional to
    exp(a y / 2), with a = 2 for an image in [0, 1]. Pixels of 0 (padding, bars of a letterboxed image) remain 0.

    Args:
        image: float32 (1, H, W) in [0, 1].
        exposure: the change to apply.

    Returns:
        Image with the same shape and metadata, in [0, 1].
    """
    changed = GaussianSmooth(exposure.blur)(image) if exposure.blur > 0 else image
    changed = changed.clamp(0.0, 1.0) ** exposure.gamma
    changed = (changed - 0.5) * exposure.contrast + 0.5 + exposure.brightness
    if exposure.noise > 0:
        random = np.random.default_rng(exposure.seed).standard_normal(tuple(image.shape), dtype=np.float32)
        changed = changed + torch.from_numpy(random) * exposure.noise * torch.exp(changed.clamp(0.0, 1.0) - 1.0)
    return torch.where(image > 0, changed.clamp(0.0, 1.0), torch.zeros_like(image))
