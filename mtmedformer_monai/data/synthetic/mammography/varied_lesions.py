"""Lesions as varied as on mammograms of many hospitals: smaller, fainter, blurred, and outlined in several ways."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from mtmedformer_monai.data.array_types import Field, Mask
from mtmedformer_monai.data.synthetic.fields import power_noise

from .breast_shape import VIEWS, Breast, Projection
from .lesion_appearance import render_lesion
from .lesions import Lesion, draw_lesions

MEDIAN_MM, SPREAD = 17.0, 0.4
"""Median of the diameter, and standard deviation of its logarithm."""
SIZES_MM = (7.0, 45.0)
CONTRASTS = (0.3, 1.0)
"""Range of the contrast, relative to the lesions of the plain style."""
CIRCLES = {True: 0.8, False: 0.2}
"""Share of lesions that are outlined by a circle, on films (as mini-MIAS does) and on digital images."""


def draw_varied_lesions(breast: Breast, pathology: str, rng: np.random.Generator) -> list[Lesion]:
    """Draws the lesions of a breast with the given pathology, with diameters as in screening and diagnosis."""
    lesions = draw_lesions(breast, pathology, rng)
    return [replace(each, diameter_mm=min(each.diameter_mm, _draw_diameter(rng))) for each in lesions]


def _draw_diameter(rng: np.random.Generator) -> float:
    return float(np.clip(rng.lognormal(np.log(MEDIAN_MM), SPREAD), *SIZES_MM))


def render_varied_lesion(view: Projection, lesion: Lesion, share: Field) -> tuple[Field, Mask]:
    """Returns the attenuation that a lesion adds (H, W), and its mask."""
    field, mask = render_lesion(view, lesion, share)
    traits, shape = (np.random.default_rng([lesion.seed, stream]) for stream in (10, 11 + VIEWS.index(view.view)))
    contrast, blur, uneven = traits.uniform(*CONTRASTS), traits.uniform(0.0, 0.1), traits.uniform(0.0, 0.25)
    if "mass" in lesion.kind:
        field = ndimage.gaussian_filter(field, blur * lesion.diameter_mm / view.spacing_mm)
        field = field * np.clip(1.0 + uneven * power_noise(view.shape, 2.8, shape), 0.0, None)
    return (contrast * field * view.mask).astype(np.float32), mask


def outline_lesion(mask: Mask, breast: Mask, is_film: bool, rng: np.random.Generator) -> Mask:
    """Returns the mask of a lesion as annotators draw it: a contour, a wider contour, or a circle around it.

    Args:
        mask: (H, W), the lesion itself.
        breast: (H, W), to which the outline is clipped.
        is_film: whether the image is a digitized film.
        rng: random number generator.
    """
    rows, columns = np.nonzero(mask)
    middle = rows.mean(), columns.mean()
    y, x = np.ogrid[: mask.shape[0], : mask.shape[1]]
    radius = float(np.sqrt(mask.sum() / np.pi))
    if rng.random() < CIRCLES[is_film]:
        drawn = np.hypot(y - middle[0], x - middle[1]) < radius * rng.uniform(1.0, 1.5)
    else:
        away = ndimage.distance_transform_edt(~mask)
        drawn = away <= radius * rng.uniform(0.0, 0.25)
    return np.asarray((drawn | mask) & breast)
