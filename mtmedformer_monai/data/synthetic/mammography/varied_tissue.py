"""Healthy breasts as varied as on mammograms of many hospitals.

The tissue of `breast_tissue.py` is clouds of gland with clear borders in plain fat. On real mammograms, a web of fibers
pervades the breast, gland is where it is dense, and the border is often gradual. Fields are float32 (H, W) on the
projection's grid.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mtmedformer_monai.data.array_types import Field
from mtmedformer_monai.data.synthetic.fields import edge, power_noise

from .breast_attenuation import pectoral_height, summation
from .breast_shape import Breast, Projection, draw_breasts
from .breast_tissue import FULLNESS, ducts, gland_share, radial_noise

WEB_LAYERS = 3
LARGEST_RATIO = 1.2
"""Largest ratio of a breast's half-width to its reach."""


def draw_varied_breasts(rng: np.random.Generator) -> tuple[Breast, Breast]:
    """Draws a patient's right and left breast, with wider ranges of size, shape and muscle."""
    scale, slim, fullness = rng.uniform(0.7, 1.15), rng.uniform(0.85, 1.3), rng.uniform(1.5, 2.6)
    pectoral = rng.uniform(0.25, 0.75), rng.uniform(0.7, 1.5)

    def vary(breast: Breast) -> Breast:
        reach = scale * breast.reach
        return replace(
            breast,
            reach=reach,
            half_width=min(scale * slim * breast.half_width, LARGEST_RATIO * reach),
            fullness=fullness,
            pectoral=(pectoral[0] * reach, pectoral[1]),
        )

    right, left = draw_breasts(rng)
    return vary(right), vary(left)


def varied_share(view: Projection, rng: np.random.Generator) -> Field:
    """Returns the fraction of dense tissue (gland, muscle) along the beam."""
    web, clouded, fibrous = _web(view, rng), rng.uniform(0.1, 0.9), rng.uniform(0.3, 0.9)
    gland = clouded * gland_share(view, rng) + (1.0 - clouded) * _gradual_gland(view, rng)
    share = gland * (1.0 - fibrous + 1.6 * fibrous * web) + ducts(view, rng)
    share += rng.uniform(0.05, 0.3) * web * edge(view.depth - 3.0, 2.0)
    for _ in range(int(rng.integers(0, 3))):
        place = (rng.uniform(0.1, 0.9) * view.breast.reach, rng.uniform(-0.7, 0.8) * view.breast.half_width)
        share += summation(view, place, rng.uniform(20.0, 50.0), rng.uniform(0.05, 0.2), rng)
    if view.view == "MLO":
        muscle = _muscle(view, rng)
        share = np.maximum(share * (1.0 - 0.7 * np.clip(2.0 * muscle, 0.0, 1.0)), muscle)
    return np.clip(share, 0.0, 1.0).astype(np.float32)


def _web(view: Projection, rng: np.random.Generator) -> Field:
    """Returns a web of fibers in [0, 1]: the lines along which noise is zero, drawn out toward the nipple."""
    web, stretch = np.zeros(view.shape, dtype=np.float32), rng.uniform(1.2, 3.0)
    for _ in range(WEB_LAYERS):
        noise = radial_noise(view, rng.uniform(2.8, 3.8), stretch, rng) + 0.5 * power_noise(view.shape, 3.0, rng)
        web += np.exp(-np.abs(noise) / rng.uniform(0.2, 0.5)) / WEB_LAYERS
    return web


def _gradual_gland(view: Projection, rng: np.random.Generator) -> Field:
    """Returns gland without a border: a share that falls off from a center, uneven in steps of all sizes."""
    breast = view.breast
    place = (rng.uniform(0.3, 0.7) * breast.reach, rng.uniform(-0.1, 0.4) * breast.half_width)
    size = rng.uniform(0.5, 0.8) * (0.7 + 0.7 * breast.gland_share)
    along = (view.x - place[0]) / (size * breast.reach)
    across = (view.up - place[1]) / (size * breast.half_width * rng.uniform(0.8, 1.4))
    rough = 1.0 + 0.5 * power_noise(view.shape, rng.uniform(2.6, 3.6), rng)
    full = FULLNESS[breast.density] * np.exp(-(along**2 + across**2)) * rough
    return np.clip(full * edge(view.depth - rng.uniform(3.0, 10.0), 2.5), 0.0, 1.0).astype(np.float32)


def _muscle(view: Projection, rng: np.random.Generator) -> Field:
    """Returns the pectoral muscle, whose border is sharp or gradual, straight or bowed, and which fades downward."""
    _, _, down = pectoral_height(view)
    inside = view.breast.pectoral[0] * down ** rng.uniform(0.6, 1.2) - view.x
    fading = np.clip(down / rng.uniform(0.05, 0.8), 0.0, 1.0)
    uneven = 1.0 + rng.uniform(0.03, 0.15) * radial_noise(view, 2.8, 3.0, rng)
    return (rng.uniform(0.25, 0.6) * fading * uneven * edge(inside, rng.uniform(1.0, 6.0))).astype(np.float32)
