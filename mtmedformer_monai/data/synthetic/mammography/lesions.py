"""Draws the lesions of a synthetic breast; each has a position in three dimensions and is visible in both views."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .breast_shape import VIEWS, Breast, outline, place_in_view

PATHOLOGIES = ("normal", "benign", "malignant")
"""Pathologies in order of severity."""

KINDS = {
    "benign": {"round mass": 0.70, "coarse calcifications": 0.30},
    "malignant": {"spiculated mass": 0.60, "irregular mass": 0.20, "microcalcifications": 0.15, "distortion": 0.05},
}
_SIZES_MM = {
    "round mass": (16.0, 40.0),
    "coarse calcifications": (14.0, 30.0),
    "spiculated mass": (18.0, 40.0),
    "irregular mass": (18.0, 42.0),
    "microcalcifications": (18.0, 40.0),
    "distortion": (24.0, 42.0),
}
"""Ranges of the diameter. They are those of palpable rather than screen-detected lesions, to be visible at 192 rows."""

_HIDDEN = {"A": 0.1, "B": 0.15, "C": 0.2, "D": 0.25}
"""Probability that dense tissue obscures a lesion in one of its views, per BI-RADS class."""

SECOND_LESION = 0.15
_MARGIN_MM = 6.0


@dataclass(frozen=True)
class Lesion:
    """One lesion.

    Attributes:
        kind: one of the kinds in `KINDS`.
        point: position (a, l, s), see `breast_shape`.
        diameter_mm: diameter of the core (the mass, or the extent of a cluster).
        per_mm: attenuation of a mass per mm, slightly above measured values, since images have a low resolution.
        seed: random seed of the traits, which both views share, and of the shape, which differs between views.
        visibility: {view: visible fraction of the contrast}.
    """

    kind: str
    point: tuple[float, float, float]
    diameter_mm: float
    per_mm: float
    seed: int
    visibility: dict[str, float]

    @property
    def is_malignant(self) -> bool:
        """Whether the lesion is malignant."""
        return self.kind in KINDS["malignant"]


def draw_lesions(breast: Breast, pathology: str, rng: np.random.Generator) -> list[Lesion]:
    """Draws the lesions of a breast with the given pathology; a malignant breast may also have a benign lesion."""
    if pathology == "normal":
        return []
    lesions: list[Lesion] = []
    for chance in (1.0, SECOND_LESION):
        if rng.random() < chance:
            kind = "benign" if lesions and rng.random() < 0.5 else pathology
            lesion = _draw_lesion(breast, kind, lesions, rng)
            lesions += [lesion] if lesion else []
    return lesions


def _draw_lesion(breast: Breast, pathology: str, others: list[Lesion], rng: np.random.Generator) -> Lesion | None:
    """Draws one lesion; None if there is no space. The first lesion of a breast always has space."""
    kinds = KINDS[pathology]
    kind = str(rng.choice(list(kinds), p=list(kinds.values())))
    low, high = _SIZES_MM[kind]
    diameter = float(np.clip(rng.lognormal(np.log(0.5 * (low + high)), 0.25), low, high))
    per_mm = rng.uniform(0.076, 0.090) if pathology == "benign" else rng.uniform(0.088, 0.106)
    seed, visibility = int(rng.integers(2**31)), _draw_visibility(breast, rng)
    point = _find_room(breast, diameter, others, rng)
    if point is None:
        return None
    return Lesion(kind, point, diameter, float(per_mm), seed, visibility)


def _draw_visibility(breast: Breast, rng: np.random.Generator) -> dict[str, float]:
    """Draws the visibility per view: clear in both views, or obscured in one of them."""
    visibility = {view: float(rng.uniform(0.8, 1.1)) for view in VIEWS}
    if rng.random() < _HIDDEN[breast.density]:
        visibility[str(rng.choice(VIEWS))] = float(rng.uniform(0.2, 0.45))
    return visibility


def _find_room(
    breast: Breast, diameter: float, others: list[Lesion], rng: np.random.Generator
) -> tuple[float, float, float] | None:
    """Draws a point inside the breast in both views and away from other lesions, most often upper outer."""
    for _ in range(300):
        direction, radius = rng.normal(np.pi / 4, 1.3), np.sqrt(rng.uniform(0.0, 0.5))
        point = (
            float(rng.uniform(0.2, 0.85) * breast.reach),
            float(radius * np.cos(direction)),
            float(radius * np.sin(direction)),
        )
        if _fits(point, breast, diameter) and all(_is_apart(point, diameter, other, breast) for other in others):
            return point
    return None if others else (0.4 * breast.reach, 0.0, 0.0)


def _fits(point: tuple[float, float, float], breast: Breast, diameter: float) -> bool:
    """Returns whether a lesion, with a margin, lies between chest wall and skin in both views."""
    radius = 0.5 * diameter + _MARGIN_MM
    around = np.array([-1.0, -0.5, 0.0, 0.5, 1.0]) * radius
    for view in VIEWS:
        x, up = place_in_view(point, breast, view)
        if x < radius or (x + radius > outline(up + around, breast, view)).any():
            return False
    return True


def _is_apart(point: tuple[float, float, float], diameter: float, other: Lesion, breast: Breast) -> bool:
    """Returns whether two lesions are separate in both views."""
    needed = 0.75 * (diameter + other.diameter_mm)
    return all(
        np.hypot(*np.subtract(place_in_view(point, breast, view), place_in_view(other.point, breast, view))) > needed
        for view in VIEWS
    )
