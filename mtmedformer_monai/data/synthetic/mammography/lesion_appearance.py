"""Renders lesions in a view: the added attenuation, and the mask that a radiologist would draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from mtmedformer_monai.data.array_types import Field, Mask
from mtmedformer_monai.data.synthetic.draw_lines import Curve, draw_curves, wander
from mtmedformer_monai.data.synthetic.fields import bump

from .breast_attenuation import FAT_PER_MM, GLAND_PER_MM, summation
from .breast_shape import VIEWS, Projection, place_in_view
from .breast_tissue import FULLNESS
from .lesions import Lesion

HARMONICS = {"round mass": (0.06, 4), "spiculated mass": (0.24, 9), "irregular mass": (0.32, 10)}
"""Relative deviation of the margin from an ellipse, and its highest harmonic, per kind of mass."""


@dataclass(frozen=True)
class _Site:
    """A lesion in a view: polar coordinates around it, its position in pixels, and its random number generators.

    `traits` draws properties that both views share (such as the number of spicules), in the same order; `shape` draws
    those that differ between views.
    """

    view: Projection
    lesion: Lesion
    radius_mm: Field
    angle: Field
    middle: tuple[float, float]
    traits: np.random.Generator
    shape: np.random.Generator

    @property
    def visible(self) -> float:
        """Fraction of the lesion's contrast that is visible in this view."""
        return self.lesion.visibility[self.view.view]


def hide(view: Projection, share: Field, lesions: Sequence[Lesion], rng: np.random.Generator) -> Field:
    """Adds dense tissue over the lesions that are obscured in this view."""
    for lesion in lesions:
        hidden = 1.0 - lesion.visibility[view.view]
        if hidden > 0.3:
            place = place_in_view(lesion.point, view.breast, view.view)
            strength = 0.6 * FULLNESS[view.breast.density] * hidden
            share = share + summation(view, place, 1.6 * lesion.diameter_mm, strength, rng)
    return np.clip(share, 0.0, 1.0)


def render_lesion(view: Projection, lesion: Lesion, share: Field) -> tuple[Field, Mask]:
    """Returns the attenuation that a lesion adds (H, W), and its mask.

    Args:
        view: the projection.
        lesion: the lesion to render.
        share: fraction of dense tissue. A mass displaces it, so that the contrast is lower in dense tissue.
    """
    site = _locate(view, lesion)
    if "mass" in lesion.kind:
        field, core = (_malignant_mass if lesion.is_malignant else _benign_mass)(site, share)
    elif lesion.kind == "distortion":
        field, core = _distortion(site)
    else:
        field, core = (_fine if lesion.is_malignant else _coarse)(site)
    mask = core & view.mask
    if not mask.any():  # smaller than a pixel
        mask[np.unravel_index(int(np.argmin(site.radius_mm)), view.shape)] = True
    return (field * view.mask).astype(np.float32), mask


def _locate(view: Projection, lesion: Lesion) -> _Site:
    x, up = place_in_view(lesion.point, view.breast, view.view)
    dx, dy = view.x - x, up - view.up
    middle = (x / view.spacing_mm, (float(view.up[0, 0]) - up) / view.spacing_mm + 0.5)
    traits, shape = (np.random.default_rng([lesion.seed, stream]) for stream in (0, 1 + VIEWS.index(view.view)))
    return _Site(view, lesion, np.hypot(dx, dy), np.arctan2(dy, dx), middle, traits, shape)


def _margin(site: _Site) -> Field:
    """Returns the distance from the center relative to that of the margin in the same direction; 1 on the margin."""
    roughness, finest = HARMONICS.get(site.lesion.kind, (0.05, 4))
    ratio, turn = site.traits.uniform(0.72, 1.0), site.angle - site.shape.uniform(0, np.pi)
    reach = 0.5 * site.lesion.diameter_mm / np.sqrt(np.cos(turn) ** 2 + (np.sin(turn) / ratio) ** 2)
    wave = np.zeros_like(turn)
    for order in range(2, finest + 1):
        phase, height = site.shape.uniform(0, 2 * np.pi), site.shape.normal(0.0, roughness / order**0.7)
        wave += height * np.cos(order * turn + phase)
    return np.asarray(site.radius_mm / (reach * np.clip(1.0 + wave, 0.45, 1.7)), dtype=np.float32)


def _gain(site: _Site, share: Field, least_per_mm: float) -> Field:
    """Returns the attenuation that a mass, as thick as it is wide, adds to that of the displaced tissue."""
    around = FAT_PER_MM + (GLAND_PER_MM - FAT_PER_MM) * share
    return np.clip(site.lesion.per_mm - around, least_per_mm, None) * site.lesion.diameter_mm * site.visible


def _benign_mass(site: _Site, share: Field) -> tuple[Field, Mask]:
    """Renders a round mass with a sharp margin, sometimes with a fatty halo or coarse calcifications."""
    margin = _margin(site)
    field = 1.15 * _gain(site, share, 0.02) * np.sqrt(np.clip(1.0 - margin**2, 0.0, 1.0))
    has_halo, has_calcium = site.traits.random(2) < (0.4, 0.25)
    if has_halo:
        field = field - 0.07 * site.visible * bump(margin - 1.12, 0.06)
    if has_calcium:
        field = field + _coarse(site, 0.35)[0]
    return field, margin < 1.0


def _malignant_mass(site: _Site, share: Field) -> tuple[Field, Mask]:
    """Renders an irregular mass, densest at its center, with an indistinct margin, and spicules if it is spiculated."""
    margin = _margin(site)
    blur_mm, count = site.traits.uniform(0.8, 1.6), int(site.traits.integers(11, 19))
    body = ndimage.gaussian_filter(np.clip(1.0 - margin**2, 0.0, 1.0), blur_mm / site.view.spacing_mm)
    field = 1.4 * _gain(site, share, 0.036) * body
    if site.lesion.kind == "spiculated mass":
        field = np.maximum(field, _spicules(site, count, 0.58 * site.visible))
    return field, margin < 1.0


def _distortion(site: _Site) -> tuple[Field, Mask]:
    """Renders an architectural distortion: lines that radiate from a point without a mass."""
    lines = _spicules(site, int(site.traits.integers(16, 26)), 0.42 * site.visible)
    hub = 0.10 * site.visible * np.exp(-((site.radius_mm / (0.2 * site.lesion.diameter_mm)) ** 2))
    return lines + hub, site.radius_mm < 0.5 * site.lesion.diameter_mm


def _spicules(site: _Site, count: int, strength: float) -> Field:
    """Renders tapering lines that radiate from a lesion."""
    pixel, diameter, rng = site.view.spacing_mm, site.lesion.diameter_mm, site.shape
    curves = []
    for heading in 2 * np.pi * (np.arange(count) + rng.uniform(-0.6, 0.6, count)) / count:
        points = wander(site.middle, float(heading), rng.uniform(0.6, 1.7) * diameter / pixel / 8, 8, rng, 0.09)
        curves.append(Curve(points, rng.uniform(0.8, 1.4) / pixel, strength * rng.uniform(0.45, 1.0), 0.7))
    return np.asarray(ndimage.gaussian_filter(draw_curves(site.view.shape, curves), 0.3 / pixel))


def _calcium(site: _Site) -> float:
    """Returns the visible fraction of a calcification's contrast, which dense tissue obscures less than a mass."""
    return 0.5 + 0.5 * site.visible


def _fine(site: _Site) -> tuple[Field, Mask]:
    """Renders a cluster of pleomorphic microcalcifications (specks and short lines), sometimes with a faint density."""
    pixel, rng, margin = site.view.spacing_mm, site.shape, _margin(site)
    count, has_density = int(site.traits.integers(14, 30)), site.traits.random() < 0.5
    curves = []
    for _ in range(count):
        away, angle = 0.42 * site.lesion.diameter_mm * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
        start = (site.middle[0] + away * np.cos(angle) / pixel, site.middle[1] + away * np.sin(angle) / pixel)
        length = rng.choice([0.4, 0.5, 1.2, 1.8], p=[0.4, 0.3, 0.2, 0.1]) / pixel
        points = wander(start, rng.uniform(0, 2 * np.pi), length / 2, 2, rng, 0.5)
        curves.append(Curve(points, rng.uniform(0.6, 1.1) / pixel, _calcium(site) * rng.uniform(0.5, 1.1)))
    field = np.asarray(ndimage.gaussian_filter(draw_curves(site.view.shape, curves), 0.18 / pixel))
    return field + 0.20 * has_density * site.visible * np.clip(1.2 - margin**2, 0.0, 1.0), margin < 1.0


def _coarse(site: _Site, share_of_diameter: float = 1.0) -> tuple[Field, Mask]:
    """Renders a few coarse round calcifications, some of them hollow, with the disk that encloses them as the mask."""
    count, rng = int(site.traits.integers(2, 6)), site.shape
    diameter, is_shell = site.traits.uniform(2.0, 4.2, count), site.traits.random(count) < 0.3
    away = 0.36 * site.lesion.diameter_mm * share_of_diameter * np.sqrt(rng.random(count)) * (np.arange(count) > 0)
    angle = rng.uniform(0, 2 * np.pi, count)
    places = np.stack([away * np.cos(angle), away * np.sin(angle)], axis=1)
    dx, dy = site.radius_mm * np.cos(site.angle), site.radius_mm * np.sin(site.angle)
    field = np.zeros(site.view.shape, dtype=np.float32)
    for place, size, hollow in zip(places, diameter, is_shell, strict=True):
        distance = np.hypot(dx - place[0], dy - place[1]) / (0.5 * size)
        body = bump(distance - 0.8, 0.2) if hollow else np.sqrt(np.clip(1.0 - distance**2, 0.0, 1.0))
        field = np.maximum(field, _calcium(site) * rng.uniform(0.6, 1.1) * body)
    middle = places.mean(axis=0)
    reach = float((np.hypot(*(places - middle).T) + 0.5 * diameter).max()) + 1.0
    return field, np.hypot(dx - middle[0], dy - middle[1]) < reach
