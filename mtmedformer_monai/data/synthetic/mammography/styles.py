"""How breasts are drawn: the styles of `make_mammography_cohort`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

from mtmedformer_monai.data.array_types import Field, Mask

from .appearance import Appearance, take_image
from .breast_attenuation import healthy_share
from .breast_shape import Breast, Projection, draw_breasts
from .lesion_appearance import render_lesion
from .lesions import Lesion, draw_lesions
from .scanner import MammographyScanner
from .varied_appearance import take_varied_image
from .varied_lesions import draw_varied_lesions, outline_lesion, render_varied_lesion
from .varied_tissue import draw_varied_breasts, varied_share


@dataclass(frozen=True)
class Style:
    """The functions that draw a cohort; each but `render_lesion` takes its random numbers from a generator.

    Attributes:
        draw_breasts: draws the shapes of a patient's right and left breast.
        draw_lesions: draws the lesions of a breast with the given pathology.
        healthy_share: returns the fraction of dense tissue along the beam.
        render_lesion: returns the attenuation that a lesion adds to a view with the given share, and its mask.
        outline: returns the mask as annotated, for those of a lesion and of the breast, and whether it is on film.
        take_image: simulates the acquisition of a view's attenuation with a device.
    """

    draw_breasts: Callable[[np.random.Generator], tuple[Breast, Breast]]
    draw_lesions: Callable[[Breast, str, np.random.Generator], list[Lesion]]
    healthy_share: Callable[[Projection, np.random.Generator], Field]
    render_lesion: Callable[[Projection, Lesion, Field], tuple[Field, Mask]]
    outline: Callable[[Mask, Mask, bool, np.random.Generator], Mask]
    take_image: Callable[[Projection, Field, MammographyScanner, np.random.Generator], Appearance]


def _as_rendered(mask: Mask, breast: Mask, is_film: bool, rng: np.random.Generator) -> Mask:
    del breast, is_film, rng
    return mask


STYLES: Final[Mapping[str, Style]] = MappingProxyType(
    {
        "plain": Style(draw_breasts, draw_lesions, healthy_share, render_lesion, _as_rendered, take_image),
        "varied": Style(
            draw_varied_breasts,
            draw_varied_lesions,
            varied_share,
            render_varied_lesion,
            outline_lesion,
            take_varied_image,
        ),
    }
)
"""Styles by name. `plain`: gland as clouds in plain fat. `varied`: webs of fibers, and lesions of all sizes and
contrasts, as on mammograms of many hospitals; for weights that shall find lesions on real ones."""
