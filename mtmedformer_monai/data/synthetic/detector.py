"""Model of an X-ray detector."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from mtmedformer_monai.data.array_types import Field

DARKEST = 2e-3
"""Minimum signal, as a fraction of the unattenuated beam: the electronic noise floor, which keeps logarithms finite."""


def detect(dose: Field, scatter: float, noise: float, blur: float, rng: np.random.Generator) -> Field:
    """Simulates the detector signal: adds scattered radiation and quantum noise, and applies the detector's blur.

    Args:
        dose: dose behind the patient, (H, W); about 1 in the unattenuated beam.
        scatter: scattered radiation as a fraction of the dose.
        noise: standard deviation of the quantum noise at a dose of 1. It is proportional to the square root of the
            dose, and varies between exposures by a factor of 0.6 to 1.3.
        blur: standard deviation of the detector's blur, in pixels.
        rng: random number generator.

    Returns:
        Signal (H, W), linear in the dose and greater than 0.
    """
    scattered = scatter * ndimage.gaussian_filter(dose, 0.06 * dose.shape[0])
    noisy = dose + scattered + noise * np.sqrt(dose) * rng.standard_normal(dose.shape) * rng.uniform(0.6, 1.3)
    return np.asarray(ndimage.gaussian_filter(np.clip(noisy, DARKEST, None), blur))
