"""Views of breasts that several tests share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mtmedformer_monai.data.synthetic.mammography.breast_attenuation import attenuate, healthy_share
from mtmedformer_monai.data.synthetic.mammography.breast_shape import DENSITIES, draw_breasts, project

SHAPE, SPACING = (160, 128), 1.5


def make_view(density="B", seed=0, view="CC"):
    """Returns a view of a breast of a density class, and the generator that drew it."""
    rng = np.random.default_rng(seed)
    breast = replace(draw_breasts(rng)[0], density=density, gland_share=float(np.mean(DENSITIES[density])))
    return project(breast, view, SHAPE, SPACING, rng), rng


@pytest.fixture(scope="module")
def tissue():
    """Returns a view of a healthy breast, and its attenuation."""
    rng = np.random.default_rng(3)
    view = project(draw_breasts(rng)[0], "CC", SHAPE, SPACING, rng)
    return view, attenuate(view, healthy_share(view, rng), rng)


def spectrum_exponents(share, seeds):
    """Returns the exponent of the power spectrum of tissue between 0.1 and 0.6 cycles per mm, for each seed.

    Args:
        share: returns the fraction of dense tissue of a view, from a generator.
        seeds: their number.
    """
    window = np.outer(np.hanning(96), np.hanning(96))
    frequency = np.hypot(np.fft.fftfreq(96)[:, None], np.fft.fftfreq(96)[None]) / 0.6
    band = (frequency > 0.1) & (frequency < 0.6)
    exponents = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        shot = project(replace(draw_breasts(rng)[0], reach=100.0), "CC", (300, 240), 0.6, rng)
        patch = share(shot, rng)[102:198, 30:126]
        power = np.abs(np.fft.fft2((patch - patch.mean()) * window)) ** 2
        exponents.append(-np.polyfit(np.log(frequency[band]), np.log(power[band]), 1)[0])
    return exponents
