"""Generates opacities as varied as in pneumonia: lobar, basal, peripheral, patchy and diffuse, from faint to dense.

They are outlined as radiologists do: whole regions, without holes, up to the lateral border of the lung, mostly without
what heart and mediastinum cover.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from mtmedformer_monai.data.array_types import Field, Mask
from mtmedformer_monai.data.synthetic.fields import edge, smooth_noise

from .opacities import Disease, blob, outline
from .phantom import Lungs

OUTLINE_LEVEL = 0.15
"""Annotation threshold, as a fraction of an opacity's peak."""

COVERED = 0.15
"""Fraction of the images whose opacities may also lie behind the heart."""


def varied_bacterial(x: Field, y: Field, lungs: Lungs, rng: np.random.Generator) -> Disease:
    """Generates consolidations, lobar or basal, in one lung or both."""
    field, places = np.zeros_like(x), _places(lungs, rng)
    for side in rng.permutation(2)[: 1 if rng.random() < 0.6 else 2]:
        lung, density = places[side], _density(0.1, 0.85, rng)
        if rng.random() < 0.3:
            part = _basal(x, y, lung, rng)
        else:
            place, size = _lower_part(y, lung, rng), rng.uniform(0.12, 0.32)
            part = np.clip(1.6 * blob(x, y, place, size, 0.5, rng, lung), 0.0, 1.0)
        field = np.maximum(field, density * part)
    return _annotate(field, lungs, places)


def varied_viral(x: Field, y: Field, lungs: Lungs, rng: np.random.Generator) -> Disease:
    """Generates haze along the lateral borders, or nearly everywhere, or in patches, mostly in both lungs."""
    field, places = np.zeros_like(x), _places(lungs, rng)
    density, pattern = _density(0.07, 0.6, rng), rng.random()
    for side, lung in enumerate(places):
        spared = rng.random() < 0.12
        if spared and (side == 0 or field.any()):  # at most one of them
            continue
        if pattern < 0.5:
            part = _peripheral(x, y, lung, side, rng)
        elif pattern < 0.7:
            part = _diffuse(y, lung, rng)
        else:
            part = _patches(x, y, lung, rng)
        field = np.maximum(field, density * rng.uniform(0.7, 1.1) * part)
    return _annotate(field, lungs, places)


def _places(lungs: Lungs, rng: np.random.Generator) -> tuple[Mask, Mask]:
    """Returns where the opacities of each lung may lie."""
    if lungs.free is None or rng.random() < COVERED:
        return lungs.masks
    right, left = (mask & lungs.free for mask in lungs.masks)
    return right, left


def _density(low: float, high: float, rng: np.random.Generator) -> float:
    """Draws an attenuation whose logarithm is uniform, so that faint opacities are frequent."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _patches(x: Field, y: Field, lung: Mask, rng: np.random.Generator) -> Field:
    field = np.zeros_like(x)
    for _ in range(int(rng.integers(1, 5))):
        place, size = _lower_part(y, lung, rng), rng.uniform(0.06, 0.2)
        field = np.maximum(field, np.clip(1.4 * blob(x, y, place, size, 0.6, rng, lung), 0.0, 1.0))
    return field


def _basal(x: Field, y: Field, lung: Mask, rng: np.random.Generator) -> Field:
    """Returns the part below a level that is higher at the side, as that of an effusion."""
    level = rng.uniform(0.35, 0.85) + 0.06 * smooth_noise(x.shape, x.shape[0] / 6, rng)
    middle = abs(float(x[lung].mean())) if lung.any() else 0.0
    level = level - rng.uniform(0.0, 0.6) * (np.abs(x) - middle)
    return np.asarray(edge(_from_apex(y, lung) - level, rng.uniform(0.02, 0.06)) * lung, dtype=np.float32)


def _peripheral(x: Field, y: Field, lung: Mask, side: int, rng: np.random.Generator) -> Field:
    """Returns a band along the lateral border, between two heights."""
    outward = -x if side == 0 else x
    border = np.where(lung, outward, -np.inf).max(axis=1, keepdims=True)
    from_border = np.where(np.isfinite(border), border - outward, np.inf)
    width = rng.uniform(0.12, 0.45) + 0.10 * smooth_noise(x.shape, x.shape[0] / 8, rng)
    top = rng.uniform(-0.1, 0.7) + 0.08 * smooth_noise(x.shape, x.shape[0] / 6, rng)
    bottom, t = rng.uniform(0.6, 1.3), _from_apex(y, lung)
    band = edge(width - from_border, 0.05) * edge(t - top, 0.05) * edge(bottom - t, 0.05)
    return np.asarray(band * _texture(x.shape, rng) * lung, dtype=np.float32)


def _diffuse(y: Field, lung: Mask, rng: np.random.Generator) -> Field:
    """Returns most of a lung, more often at the base than at the apex."""
    noise = smooth_noise(lung.shape, lung.shape[0] / rng.uniform(4, 9), rng)
    lower = rng.uniform(-0.5, 1.0) * (_from_apex(y, lung) - 0.5)
    amount = edge(0.5 * noise + rng.uniform(0.0, 1.2) + lower, 0.2)
    return np.asarray(amount * _texture(lung.shape, rng) * lung, dtype=np.float32)


def _texture(shape: tuple[int, int], rng: np.random.Generator) -> Field:
    noise = smooth_noise(shape, shape[0] / rng.uniform(16, 50), rng)
    return np.asarray(np.clip(1.0 + rng.uniform(0.05, 0.35) * noise, 0.2, 1.8), dtype=np.float32)


def _lower_part(y: Field, lung: Mask, rng: np.random.Generator) -> Mask:
    """Returns a lung below a random height, in a third of the draws the whole lung."""
    return lung & (_from_apex(y, lung) > rng.uniform(-0.3, 0.6))


def _from_apex(y: Field, lung: Mask) -> Field:
    """Returns the height in a lung: 0 at its apex, 1 at its lowest point."""
    if not lung.any():
        return np.zeros_like(y)
    top, bottom = float(y[lung].min()), float(y[lung].max())
    return (y - top) / max(bottom - top, 1e-6)


def _annotate(field: Field, lungs: Lungs, places: tuple[Mask, Mask]) -> Disease:
    """Smooths the field within the lungs, and outlines its regions within the places of opacities."""
    place = places[0] | places[1]
    rows, lung = field.shape[0], place.astype(np.float32)
    soft = ndimage.gaussian_filter(field, 0.008 * rows) * ndimage.gaussian_filter(lung, 1.0)
    share = np.maximum(ndimage.gaussian_filter(lung, 0.03 * rows), 0.05)
    smooth = ndimage.gaussian_filter(field, 0.03 * rows) / share  # not darker at the border of the lung
    peak = max(float(np.percentile(smooth[place], 98)), 1e-6) if place.any() else 1.0
    return outline(soft, (smooth > OUTLINE_LEVEL * peak) & place, lungs)
