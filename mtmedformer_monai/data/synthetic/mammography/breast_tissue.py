"""Generates healthy breast tissue, as the fraction of gland along the beam: lobules, ducts, ligaments and vessels.

All fields are float32 (H, W) on the projection's grid. The noise parameters are chosen so that the power spectrum is
proportional to f^-3 between 0.1 and 0.7 cycles per mm, as in mammograms (Burgess et al., Medical Physics 28, 2001).
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from mtmedformer_monai.data.array_types import Field
from mtmedformer_monai.data.synthetic.draw_lines import Curve, draw_curves, wander
from mtmedformer_monai.data.synthetic.fields import blob_noise, edge, power_noise

from .breast_shape import Projection

FULLNESS = {"A": 0.42, "B": 0.52, "C": 0.64, "D": 0.78}
"""Fraction of gland along a beam through dense tissue per BI-RADS class; the rest is fat above and below."""


def gland_share(view: Projection, rng: np.random.Generator) -> Field:
    """Returns the fraction of fibroglandular tissue along the beam, in [0, 1]; the rest is fat."""
    region, centered = _gland_region(view, rng)
    lobes = 0.55 * power_noise(view.shape, 3.8, rng) + 0.75 * radial_noise(view, 3.4, 2.6, rng) + 0.8 * centered
    inside = lobes[region > 0.5]
    level = np.quantile(inside, 1.0 - view.breast.gland_share) if inside.size else 0.0
    dense = edge(lobes - float(level), 0.16) * region * _between_lobules(view, rng)
    fibers = strands(view, region, rng)
    texture = 1.0 + 0.11 * power_noise(view.shape, 2.4, rng) + 0.12 * radial_noise(view, 2.4, 2.6, rng)
    share = FULLNESS[view.breast.density] * dense * texture + (0.55 + 0.6 * dense) * fibers
    return np.clip(share + 0.035 * (1.8 + power_noise(view.shape, 2.3, rng)), 0.0, 1.0).astype(np.float32)


def _between_lobules(view: Projection, rng: np.random.Generator) -> Field:
    """Returns a factor in [0, 1] that is reduced in round fat lobules, which give the gland scalloped borders."""
    left = np.ones(view.shape, dtype=np.float32)
    for size, depth in ((15.0, 0.26), (9.0, 0.22), (5.0, 0.14)):
        noise = blob_noise(view.shape, max(1.0, size / view.spacing_mm), rng)
        left *= 1.0 - depth * edge(noise - 0.7, 0.35)
    return left


def _gland_region(view: Projection, rng: np.random.Generator) -> tuple[Field, Field]:
    """Returns a soft mask of the glandular cone behind the nipple, and a field that decreases from its center."""
    breast, (radius, _) = view.breast, view.from_nipple
    spread = {"A": 0.75, "B": 0.85, "C": 0.97, "D": 1.08}[breast.density]
    middle = rng.uniform(0.48, 0.58) * breast.reach
    height = (0.10 if view.view == "CC" else 0.18) * breast.half_width * rng.uniform(0.5, 1.5)
    along = (view.x - middle) / (0.52 * breast.reach * spread)
    across = (view.up - height) / (0.66 * breast.half_width * spread)
    centered = (1.0 - along**2 - across**2).astype(np.float32)
    fat = rng.uniform(5.0, 9.0) if breast.density in "CD" else rng.uniform(8.0, 14.0)
    under_skin = edge(view.depth + 14.0 * np.exp(-((radius / 16.0) ** 2)) - fat, 2.0)
    rough = 0.3 * power_noise(view.shape, 3.4, rng)
    behind = edge(view.x - rng.uniform(0.02, 0.14) * breast.reach + 18.0 * rough, 4.0)
    return (edge(centered + rough, 0.16) * under_skin * behind).astype(np.float32), np.clip(centered, -1.0, 1.0)


def radial_noise(view: Projection, exponent: float, stretch: float, rng: np.random.Generator) -> Field:
    """Returns power-law noise that is elongated along radial lines from the nipple, like ducts and lobes."""
    rows, columns = view.shape
    side = max(rows, columns) // 2 * 2
    noise = power_noise((side, side), exponent, rng)
    radius, angle = view.from_nipple
    per_mm = 1.0 / view.spacing_mm
    across = angle * 0.45 * view.breast.reach * per_mm + rng.uniform(0, side)
    along = radius * per_mm / stretch + rng.uniform(0, side)
    return np.asarray(ndimage.map_coordinates(noise, [across, along], order=1, mode="grid-wrap"), dtype=np.float32)


def strands(view: Projection, region: Field, rng: np.random.Generator) -> Field:
    """Returns Cooper's ligaments and septa: long thin lines through fat and gland, mostly radial from the nipple.

    Args:
        view: the projection.
        region: soft mask of the gland, which most lines cross.
        rng: random number generator of the lines.
    """
    pixel = view.spacing_mm
    places = np.flatnonzero(rng.random(view.shape) < (0.15 + region) * (view.depth > 3.0))
    if not len(places):
        return np.zeros(view.shape, dtype=np.float32)
    places = rng.choice(places, size=int(rng.integers(90, 150)))
    middle = np.stack([places % view.shape[1], places // view.shape[1]], axis=1) + 0.5
    radius, angle = (field.ravel()[places] for field in view.from_nipple)
    heading = angle * radius / (radius + 10.0) + rng.normal(0.0, 0.42, len(places))
    length = rng.uniform(8.0, 42.0, len(places)) / pixel
    start = middle - 0.5 * length[:, None] * np.stack([np.cos(heading), np.sin(heading)], axis=1)
    lines = wander(start, heading, length / 10, 10, rng, 0.10)
    widths, strengths = rng.uniform(0.35, 0.9, len(lines)) / pixel, rng.uniform(0.04, 0.17, len(lines))
    curves = [Curve(*line, taper=0.5) for line in zip(lines, widths, strengths, strict=True)]
    return _soft(draw_curves(view.shape, curves), view, 0.28)


def ducts(view: Projection, rng: np.random.Generator) -> Field:
    """Returns ducts: faint lines that converge on the nipple."""
    curves = []
    start = (view.breast.reach / view.spacing_mm, _row_of(view, 0.0))
    for _ in range(int(rng.integers(5, 10))):
        length = rng.uniform(0.3, 0.65) * view.breast.reach / view.spacing_mm
        heading = np.pi + rng.uniform(-0.9, 0.9)
        points = wander(start, heading, length / 12, 12, rng)
        curves.append(Curve(points, 1.0 / view.spacing_mm, rng.uniform(0.04, 0.10), 0.6))
    return _soft(draw_curves(view.shape, curves), view, 0.5)


def vessels(view: Projection, rng: np.random.Generator) -> Field:
    """Returns vessels that wind from the chest wall toward the nipple."""
    curves = []
    for _ in range(int(rng.integers(2, 6))):
        start_up = rng.uniform(-0.6, 0.8) * view.breast.half_width
        length = rng.uniform(0.5, 0.9) * view.breast.reach / view.spacing_mm
        start = (rng.uniform(-0.1, 0.3) * view.breast.reach / view.spacing_mm, _row_of(view, start_up))
        heading = np.arctan2(start_up, view.breast.reach) * 0.7 + rng.normal(0.0, 0.25)
        points = wander(start, heading, length / 16, 16, rng, 0.16)
        width = rng.uniform(1.2, 2.4) / view.spacing_mm
        curves.append(Curve(points, width, rng.uniform(0.06, 0.16), 0.5))
    return _soft(draw_curves(view.shape, curves), view, 0.4)


def _soft(drawn: Field, view: Projection, blur_mm: float) -> Field:
    """Smooths lines, and removes them outside the breast."""
    return np.asarray(ndimage.gaussian_filter(drawn, blur_mm / view.spacing_mm) * edge(view.depth - 2.0, 0.7))


def _row_of(view: Projection, up: float) -> float:
    """Returns the row coordinate of a height in mm."""
    return float(view.up[0, 0] - up) / view.spacing_mm + 0.5
