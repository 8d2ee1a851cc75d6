"""Generates pneumonia opacities, lobar (bacterial) or patchy and diffuse (viral), with mask and boxes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from mtmedformer_monai.data.array_types import Field, Mask
from mtmedformer_monai.data.mask_boxes import Box, boxes_of_parts
from mtmedformer_monai.data.synthetic.fields import smooth_noise

from .phantom import Lungs

MASK_LEVEL = 0.35
"""Annotation threshold, as a fraction of an opacity's peak."""

MIN_AREA = 0.0008
"""Minimum area of an annotated component, as a fraction of the image."""


@dataclass(frozen=True)
class Disease:
    """Opacities of one image.

    Attributes:
        attenuation: float32 (H, W), added to the healthy anatomy.
        mask: bool (H, W).
        boxes: x1, y1, x2, y2, half-open, one per connected component of the mask.
    """

    attenuation: Field
    mask: Mask
    boxes: list[Box]


def healthy(shape: tuple[int, int]) -> Disease:
    """Returns a disease without opacities."""
    return Disease(np.zeros(shape, np.float32), np.zeros(shape, bool), [])


def bacterial(x: Field, y: Field, lungs: Lungs, rng: np.random.Generator) -> Disease:
    """Generates one or two dense consolidations of the extent of a lobe, usually in one lung."""
    field = np.zeros_like(x)
    number = 1 if rng.random() < 0.72 else 2
    side = int(rng.integers(2))
    for index in range(number):
        lung = lungs.masks[side if index == 0 or rng.random() < 0.5 else 1 - side]
        size = rng.uniform(0.10, 0.24)
        patch = blob(x, y, lung, size, 0.35, rng)
        field = np.maximum(field, rng.uniform(0.30, 0.75) * patch)
    return _annotate(field, lungs)


def viral(x: Field, y: Field, lungs: Lungs, rng: np.random.Generator) -> Disease:
    """Generates several hazy patches in both lungs, surrounded by a fine reticular pattern."""
    field = np.zeros_like(x)
    for index in range(int(rng.integers(4, 9))):
        patch = blob(x, y, lungs.masks[index % 2], rng.uniform(0.06, 0.14), 0.6, rng)
        field = np.maximum(field, rng.uniform(0.20, 0.42) * patch)
    fine = np.abs(smooth_noise(x.shape, x.shape[0] / 48, rng))
    around = ndimage.gaussian_filter(field, 0.03 * x.shape[0])
    disease = _annotate(field, lungs)
    net = 0.30 * np.exp(-((fine / 0.35) ** 2)) * np.clip(around / (around.max() + 1e-6), 0, 1) * lungs.mask
    return Disease(disease.attenuation + (0.9 * net).astype(np.float32), disease.mask, disease.boxes)


def blob(
    x: Field,
    y: Field,
    place: Mask,
    size: float,
    roughness: float,
    rng: np.random.Generator,
    lung: Mask | None = None,
) -> Field:
    """Returns an irregular patch at a random place, at most about 1.

    Args:
        x: coordinates, in half image widths.
        y: coordinates, in image heights.
        place: where its center may be.
        size: about half its diameter, in image heights.
        roughness: of its border.
        rng: random number generator.
        lung: where the patch is cut off; None: at `place`.
    """
    rows, columns = np.nonzero(place)
    if len(rows) == 0:
        return np.zeros_like(x)
    index = int(rng.integers(len(rows)))
    center_x, center_y = x[rows[index], columns[index]], y[rows[index], columns[index]]
    stretch, angle = rng.uniform(0.7, 1.4), rng.uniform(0, np.pi)
    dx, dy = (x - center_x) * 0.5, y - center_y
    along = (dx * np.cos(angle) + dy * np.sin(angle)) * stretch
    across = (-dx * np.sin(angle) + dy * np.cos(angle)) / stretch
    distance = np.hypot(along, across) / size
    distance = distance + roughness * 0.35 * smooth_noise(x.shape, size * x.shape[0] * 0.5, rng)
    texture = 1.0 + 0.12 * smooth_noise(x.shape, x.shape[0] / 40, rng)
    return (np.clip(1.25 - distance**2, 0.0, 1.0) * texture * (place if lung is None else lung)).astype(np.float32)


def _annotate(field: Field, lungs: Lungs) -> Disease:
    """Smooths the field within the lungs, and derives the mask and boxes from it."""
    inside = ndimage.gaussian_filter(lungs.mask.astype(np.float32), 1.0)
    soft = ndimage.gaussian_filter(field, 0.006 * field.shape[0]) * inside
    return outline(soft, soft > MASK_LEVEL * max(float(soft.max()), 1e-6), lungs)


def outline(attenuation: Field, region: Mask, lungs: Lungs) -> Disease:
    """Returns the disease whose mask is a region within the lungs, without its holes and its smallest parts."""
    mask = ndimage.binary_fill_holes(region) & lungs.mask
    mask, boxes = boxes_of_parts(mask, MIN_AREA * mask.size)
    return Disease(attenuation.astype(np.float32), mask, boxes)
