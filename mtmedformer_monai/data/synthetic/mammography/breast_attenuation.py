"""Computes the attenuation of a healthy breast: fat, gland, skin, nipple, muscle, and structures that mimic lesions.

Attenuation is the natural logarithm of the ratio of incident to transmitted intensity. The coefficients are those of
breast tissue at about 20 keV (Johns and Yaffe, X-ray characterisation of normal and neoplastic breast tissues, Phys.
Med. Biol. 32, 1987).
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from mtmedformer_monai.data.array_types import Field
from mtmedformer_monai.data.synthetic.fields import bump, edge, power_noise

from .breast_shape import Projection
from .breast_tissue import FULLNESS, ducts, gland_share, vessels

FAT_PER_MM = 0.045
GLAND_PER_MM = 0.080


def healthy_share(view: Projection, rng: np.random.Generator) -> Field:
    """Returns the fraction of dense tissue (gland, muscle) along the beam, with summation shadows of this view."""
    share = gland_share(view, rng) + ducts(view, rng)
    if view.view == "MLO":
        muscle = _muscle(view, rng)
        share = np.maximum(share, muscle) + 0.3 * np.minimum(share, muscle)
    for _ in range(int(rng.integers(0, 3))):
        place = (rng.uniform(0.2, 0.8) * view.breast.reach, rng.uniform(-0.45, 0.6) * view.breast.half_width)
        strength = 0.45 * FULLNESS[view.breast.density] * rng.uniform(0.35, 1.0)
        share = share + summation(view, place, rng.uniform(12.0, 36.0), strength, rng)
    return np.clip(share, 0.0, 1.0).astype(np.float32)


def attenuate(view: Projection, share: Field, rng: np.random.Generator) -> Field:
    """Returns the attenuation of healthy tissue; 0 in air."""
    field = view.thickness * (FAT_PER_MM + (GLAND_PER_MM - FAT_PER_MM) * share)
    field = field + 0.26 * bump(view.depth - 0.4, 1.0) * (view.depth > 0)  # the beam is tangential to the skin there
    field = field + vessels(view, rng) + _nipple(view, rng)
    if view.view == "MLO":
        field = field + _nodes(view, rng)
    return (field * view.mask).astype(np.float32)


def summation(
    view: Projection, place: tuple[float, float], diameter: float, strength: float, rng: np.random.Generator
) -> Field:
    """Returns a summation shadow: dense tissue that overlaps in this view only, a cloudy patch without a margin.

    Args:
        view: the projection.
        place: (x, up) of the center in mm.
        diameter: diameter in mm.
        strength: fraction of gland that is added.
        rng: random number generator of the shape.
    """
    angle, stretch = rng.uniform(0, np.pi), rng.uniform(0.65, 1.0)
    along, across = turned(view, place, angle)
    distance = np.hypot(along, across / stretch) / (0.5 * diameter)
    rough = np.clip(1.0 + 0.6 * power_noise(view.shape, 2.9, rng), 0.0, None)
    return (strength * np.exp(-(distance**2)) * rough * edge(view.depth - 6.0, 2.0)).astype(np.float32)


def turned(view: Projection, place: tuple[float, float], angle: float) -> tuple[Field, Field]:
    """Returns coordinates in mm relative to a point, along and across a direction."""
    dx, dy = view.x - place[0], view.up - place[1]
    return dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)


def pectoral_height(view: Projection) -> tuple[float, float, Field]:
    """Returns the muscle's lower end and height in mm, and each pixel's position: 0 at this end and below, 1 on top."""
    top = float(view.up.max())
    bottom = top - view.breast.pectoral[1] * (top + 0.25 * view.breast.half_width)
    return bottom, top - bottom, np.clip((view.up - bottom) / (top - bottom), 0.0, None)


def _muscle(view: Projection, rng: np.random.Generator) -> Field:
    """Returns the pectoral muscle: a triangle at the chest wall, widest at the top, with fibers along its edge."""
    width, (bottom, height, down) = view.breast.pectoral[0], pectoral_height(view)
    inside = width * down ** rng.uniform(0.75, 1.0) - view.x
    slope = width / height
    fibers = ndimage.gaussian_filter1d(rng.standard_normal(4096), 24.0)
    along_fibers = (view.x - slope * (view.up - bottom)) / view.spacing_mm * 4 + 2048
    texture = np.interp(along_fibers, np.arange(4096), fibers / fibers.std())
    level = rng.uniform(0.45, 0.62)
    return (level * (1.0 + 0.02 * texture) * edge(inside, 1.2) * (down > 0)).astype(np.float32)


def _nipple(view: Projection, rng: np.random.Generator) -> Field:
    """Returns the nipple and the ducts that converge behind it."""
    radius, _ = view.from_nipple
    out = view.breast.nipple if view.breast.nipple else -rng.uniform(3.0, 12.0)  # not in profile
    ring = np.hypot(view.x - view.breast.reach - 0.4 * out, view.up) / 5.5
    return (rng.uniform(0.10, 0.28) * edge(1.0 - ring, 0.12) + 0.22 * np.exp(-((radius / 9.0) ** 2))).astype(np.float32)


def _nodes(view: Projection, rng: np.random.Generator) -> Field:
    """Returns axillary lymph nodes: ovals with a fatty hilum."""
    field = np.zeros(view.shape, dtype=np.float32)
    top = float(view.up.max())
    for _ in range(int(rng.integers(0, 4))):
        down = rng.uniform(0.08, 0.60) * view.breast.half_width
        place = (rng.uniform(0.08, 0.40) * view.breast.reach, top - down)
        length, angle = rng.uniform(7.0, 16.0), rng.uniform(0, 2 * np.pi)
        along, across = turned(view, place, angle)
        body = 1.0 - (along / (0.5 * length)) ** 2 - (across / (0.3 * length)) ** 2
        hilum = 1.0 - (along / (0.28 * length)) ** 2 - ((across - 0.13 * length) / (0.15 * length)) ** 2
        node = np.sqrt(np.clip(body, 0.0, 1.0)) - 0.8 * np.sqrt(np.clip(hilum, 0.0, 1.0))
        field += 0.016 * length * np.clip(node, 0.0, None) * edge(view.depth - 4.0, 1.0)
    return field
