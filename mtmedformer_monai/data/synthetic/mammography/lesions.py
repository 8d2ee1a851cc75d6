"""Lesions of a synthetic breast: what they are, and where; each is one thing in three dimensions, seen in each view."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .breast_shape import VIEWS, Breast, outline, place_in_view

PATHOLOGIES = ("normal", "benign", "malignant")
"""In the order of severity."""

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
"""Of palpable lesions rather than of those that screening finds, so that they show at 192 rows."""

_HIDDEN = {"A": 0.1, "B": 0.15, "C": 0.2, "D": 0.25}
"""How often dense tissue lies over a lesion in one of its views."""

SECOND_LESION = 0.15
_MARGIN_MM = 6.0


@dataclass(frozen=True)
class Lesion:
    """One lesion.

    Attributes:
        kind: of `KINDS`.
        point: (a, l, s), see `breast_shape`.
        diameter_mm: of its core (a mass, or the field of a cluster).
        per_mm: attenuation of a mass: a little more than measured, as few pixels show it.
        seed: of its traits, which both views share, and of its shape, which each view sees from another side.
        visibility: {view: share of its contrast that shows}.
    """

    kind: str
    point: tuple[float, float, float]
    diameter_mm: float
    per_mm: float
    seed: int
    visibility: dict[str, float]

    @property
    def is_malignant(self) -> bool:
        """Whether it is cancer."""
        return self.kind in KINDS["malignant"]


def draw_lesions(breast: Breast, pathology: str, rng: np.random.Generator) -> list[Lesion]:
    """Draws what makes a breast benign or malignant; a malignant one may hold a benign lesion as well."""
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
    """One lesion where there is room; None where there is none. The first one always finds room."""
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
    """Clear in both views, or hidden in one of them."""
    visibility = {view: float(rng.uniform(0.8, 1.1)) for view in VIEWS}
    if rng.random() < _HIDDEN[breast.density]:
        visibility[str(rng.choice(VIEWS))] = float(rng.uniform(0.2, 0.45))
    return visibility


def _find_room(
    breast: Breast, diameter: float, others: list[Lesion], rng: np.random.Generator
) -> tuple[float, float, float] | None:
    """A point well inside the breast in both views and apart from other lesions; most often upper and outer."""
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
    """Whether skin and chest wall are further away than its radius, in both views."""
    radius = 0.5 * diameter + _MARGIN_MM
    around = np.array([-1.0, -0.5, 0.0, 0.5, 1.0]) * radius
    for view in VIEWS:
        x, up = place_in_view(point, breast, view)
        if x < radius or (x + radius > outline(up + around, breast, view)).any():
            return False
    return True


def _is_apart(point: tuple[float, float, float], diameter: float, other: Lesion, breast: Breast) -> bool:
    """Whether two lesions overlap in neither view."""
    needed = 0.75 * (diameter + other.diameter_mm)
    return all(
        np.hypot(*np.subtract(place_in_view(point, breast, view), place_in_view(other.point, breast, view))) > needed
        for view in VIEWS
    )
