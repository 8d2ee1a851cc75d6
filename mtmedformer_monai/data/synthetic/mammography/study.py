"""Draws a synthetic mammography study: two breasts, their lesions, and the acquired views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mtmedformer_monai.data.synthetic.cohort_files import draw_from

from .breast_shape import VIEWS, Breast
from .lesions import PATHOLOGIES, Lesion
from .styles import Style

OTHER_BREAST_BENIGN = 0.2
"""Probability that the other breast of a patient with a lesion also has a benign lesion."""

MISSING_VIEW = 0.12
"""Fraction of studies in which one of the four views is missing."""


@dataclass(frozen=True)
class Side:
    """One breast of a patient.

    Attributes:
        laterality: 'R' or 'L'.
        breast: its shape and tissue.
        pathology: 'normal', 'benign' or 'malignant'.
        lesions: its lesions.
    """

    laterality: str
    breast: Breast
    pathology: str
    lesions: Sequence[Lesion]


@dataclass(frozen=True)
class Study:
    """One examination.

    Attributes:
        age_years: age of the patient.
        sides: the right and the left breast.
        shots: three or four acquired images, as (side, view).
    """

    age_years: int
    sides: tuple[Side, Side]
    shots: Sequence[tuple[Side, str]]

    @property
    def worst_pathology(self) -> str:
        """The more severe pathology of both breasts."""
        return max((side.pathology for side in self.sides), key=PATHOLOGIES.index)


def draw_study(pathology_shares: Mapping[str, float], style: Style, rng: np.random.Generator) -> Study:
    """Draws a patient's study.

    Args:
        pathology_shares: {pathology: share}, for the worse breast.
        style: how breasts and lesions are drawn.
        rng: random number generator.
    """
    worst = draw_from(pathology_shares, rng)
    other = "benign" if worst != "normal" and rng.random() < OTHER_BREAST_BENIGN else "normal"
    pathologies = [worst, other] if rng.random() < 0.5 else [other, worst]
    right, left = (
        Side(laterality, breast, pathology, style.draw_lesions(breast, pathology, rng))
        for laterality, breast, pathology in zip("RL", style.draw_breasts(rng), pathologies, strict=True)
    )
    shots = [(side, view) for side in (right, left) for view in VIEWS]
    if rng.random() < MISSING_VIEW:
        shots.pop(int(rng.integers(len(shots))))
    return Study(int(rng.integers(40, 80)), (right, left), shots)
