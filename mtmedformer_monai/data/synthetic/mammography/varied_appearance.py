"""Rendering of mammograms as varied as devices and films of many hospitals: tone and local contrast."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mtmedformer_monai.data.array_types import Field
from mtmedformer_monai.data.synthetic.fields import sharpen

from .appearance import Appearance, Window, take_image
from .breast_shape import Projection
from .scanner import MammographyScanner

FILM_GAMMA = (0.35, 1.0)
"""Range of the exponent of films; low ones show fat as bright as on mini-MIAS films."""


def take_varied_image(
    view: Projection, attenuation: Field, scanner: MammographyScanner, rng: np.random.Generator
) -> Appearance:
    """Simulates the acquisition of an image with the given device, and varies its processing.

    Films vary in gamma, FOR PRESENTATION images in local contrast and windows; FOR PROCESSING images have neither.
    """
    image = take_image(view, attenuation, scanner, rng)
    if scanner.is_raw:
        return image
    if scanner.is_film:
        return replace(image, values=(image.values ** rng.uniform(*FILM_GAMMA)).astype(np.float32))
    move, scale = rng.uniform(-0.08, 0.04), rng.uniform(0.8, 1.6)
    windows = tuple(Window(each.center + move, each.width * scale, each.name) for each in image.windows)
    return Appearance(_with_local_contrast(image.values, rng), windows)


def _with_local_contrast(values: Field, rng: np.random.Generator) -> Field:
    """Raises the local contrast of two thirds of the images; values stay in the image's range, and 0 stays 0."""
    strength, scale = rng.uniform(-0.5, 1.0), rng.uniform(0.01, 0.06) * values.shape[0]
    inside = values > 0
    if strength <= 0 or not inside.any():
        return values
    sharper = np.clip(sharpen(values, strength, scale), values[inside].min(), 1.0)
    return np.where(inside, sharper, 0.0).astype(np.float32)
