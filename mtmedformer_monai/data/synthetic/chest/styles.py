"""How chests are drawn: the styles of `make_chest_cohort`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

from mtmedformer_monai.data.array_types import Field

from .opacities import Disease, bacterial, viral
from .phantom import Lungs, Patient, draw_patient, make_lungs, render_anatomy
from .varied_opacities import varied_bacterial, varied_viral
from .varied_phantom import draw_varied_patient, enhance, make_varied_chest


@dataclass(frozen=True)
class Style:
    """The functions that draw a cohort; each takes its random numbers from a generator.

    Attributes:
        draw_patient: draws the anatomy of a patient.
        make_chest: returns the lungs and the attenuation of the healthy anatomy, for x and y coordinates.
        opacities: {disease: function that returns its opacities, for x and y coordinates and lungs}.
        process: processes an exposed image.
        aspect: range by which the number of rows of an image varies.
    """

    draw_patient: Callable[[np.random.Generator], Patient]
    make_chest: Callable[[Field, Field, Patient, np.random.Generator], tuple[Lungs, Field]]
    opacities: Mapping[str, Callable[[Field, Field, Lungs, np.random.Generator], Disease]]
    process: Callable[[Field, np.random.Generator], Field]
    aspect: tuple[float, float]

    def draw_aspect(self, rng: np.random.Generator) -> float:
        """Draws the factor of the number of rows."""
        low, high = self.aspect
        return float(rng.uniform(low, high)) if low < high else low


def _make_plain_chest(x: Field, y: Field, patient: Patient, rng: np.random.Generator) -> tuple[Lungs, Field]:
    lungs = make_lungs(x, y, patient, rng)
    return lungs, render_anatomy(x, y, patient, lungs, rng)


def _unchanged(image: Field, rng: np.random.Generator) -> Field:
    del rng
    return image


STYLES: Final[Mapping[str, Style]] = MappingProxyType(
    {
        "plain": Style(
            draw_patient,
            _make_plain_chest,
            MappingProxyType({"bacterial": bacterial, "viral": viral}),
            _unchanged,
            aspect=(1.0, 1.0),
        ),
        "varied": Style(
            draw_varied_patient,
            make_varied_chest,
            MappingProxyType({"bacterial": varied_bacterial, "viral": varied_viral}),
            enhance,
            aspect=(0.85, 1.05),
        ),
    }
)
"""Styles by name. `plain`: one projection, in which the lungs end at the heart. `varied`: films of many hospitals, in
which they do not; for weights that shall find lungs and opacities on real films."""
