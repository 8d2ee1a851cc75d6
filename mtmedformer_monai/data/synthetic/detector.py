"""What an X-ray detector makes of the dose that reaches it."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from mtmedformer_monai.data.array_types import Field

DARKEST = 2e-3
"""Least signal, as a share of the beam without a patient: electronics have a noise floor, and logarithms need one."""


def detect(dose: Field, scatter: float, noise: float, blur: float, rng: np.random.Generator) -> Field:
    """Adds scattered radiation and quantum noise, and blurs.

    Args:
        dose: behind the patient (H, W); about 1 where there is none.
        scatter: share of the dose that comes again from all around.
        noise: deviation of the quantum noise where the dose is 1; it goes with the dose's root, and differs by a
            third from one exposure to the next.
        blur: of the detector, in pixels.
        rng: draws the noise.

    Returns:
        Signal (H, W), linear in the dose and above 0.
    """
    scattered = scatter * ndimage.gaussian_filter(dose, 0.06 * dose.shape[0])
    noisy = dose + scattered + noise * np.sqrt(dose) * rng.standard_normal(dose.shape) * rng.uniform(0.6, 1.3)
    return np.asarray(ndimage.gaussian_filter(np.clip(noisy, DARKEST, None), blur))
