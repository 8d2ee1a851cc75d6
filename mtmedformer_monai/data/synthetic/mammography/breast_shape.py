"""Shape of a synthetic breast, in three dimensions and after compression and projection to CC and MLO.

Lengths are in mm in the plane of the patient. A point of the breast has the coordinates (a, l, s): `a` is the distance
from the chest wall in mm; `l` (lateral) and `s` (superior) are fractions of the breast's half-width at the chest wall.
In an image, `x` increases from the chest wall (column 0) to the nipple, and `up` from the level of the nipple to the
top:
lateral in CC, superior and lateral in MLO. The projection preserves `a`, so a lesion has the same distance from the
chest wall in both views.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import ndimage

from mtmedformer_monai.data.array_types import Field, Mask

VIEWS = ("CC", "MLO")
OBLIQUE_DEGREES = 45.0
"""Angle between the beam of an MLO view and the vertical; the beam enters from above and medially."""

DENSITIES = {"A": (0.02, 0.13), "B": (0.20, 0.36), "C": (0.46, 0.64), "D": (0.76, 0.94)}
"""Range of the dense fraction of the fibroglandular region per BI-RADS class, with gaps between the classes."""

_DENSITY_CHANCES = (0.15, 0.35, 0.35, 0.15)


@dataclass(frozen=True)
class Breast:
    """Shape and density of one breast. Lengths are in mm.

    Attributes:
        density: BI-RADS class, 'A' to 'D'.
        gland_share: dense fraction of the fibroglandular region.
        reach: distance from chest wall to nipple.
        half_width: half of the breast's width along the chest wall.
        thickness: thickness of the compressed breast.
        fullness: exponent of the outline's superellipse; 2 is an ellipse.
        nipple: length of the nipple in profile; 0 if not in profile.
        pectoral: width of the pectoral muscle at the top of an MLO view, and its relative length.
    """

    density: str
    gland_share: float
    reach: float
    half_width: float
    thickness: float
    fullness: float
    nipple: float
    pectoral: tuple[float, float]


@dataclass(frozen=True)
class Projection:
    """A breast in one view on a pixel grid (H, W), with the chest wall at column 0.

    Attributes:
        breast: the breast.
        view: 'CC' or 'MLO'.
        x: distance from the chest wall in mm.
        up: height above the level of the nipple in mm.
        depth: distance to the nearest skin in mm, negative outside.
        mask: mask of the breast (in MLO including the axilla and the visible part of the abdomen).
        thickness: tissue thickness along the beam in mm, which decreases near the skin.
        spacing_mm: pixel spacing.
    """

    breast: Breast
    view: str
    x: Field
    up: Field
    depth: Field
    mask: Mask
    thickness: Field
    spacing_mm: float

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns."""
        return self.mask.shape[0], self.mask.shape[1]

    @cached_property
    def from_nipple(self) -> tuple[Field, Field]:
        """Polar coordinates of each pixel: distance from the nipple in mm, and angle to its axis in radians."""
        back = self.breast.reach - self.x
        return np.hypot(back, self.up), np.arctan2(self.up, back)


def draw_breasts(rng: np.random.Generator) -> tuple[Breast, Breast]:
    """Draws a patient's right and left breast, of similar shape and equal density class."""
    density = str(rng.choice(list(DENSITIES), p=_DENSITY_CHANCES))
    reach = rng.uniform(74.0, 122.0)
    half_width = reach * rng.uniform(0.74, 0.94)
    right = Breast(
        density=density,
        gland_share=rng.uniform(*DENSITIES[density]),
        reach=reach,
        half_width=half_width,
        thickness=rng.uniform(38.0, 66.0),
        fullness=rng.uniform(2.0, 2.5),
        nipple=_draw_nipple(rng),
        pectoral=(rng.uniform(0.30, 0.52) * reach, rng.uniform(0.8, 1.2)),
    )
    return right, _other_side(right, rng)


def _draw_nipple(rng: np.random.Generator) -> float:
    """Draws the length of the nipple: 3 to 7 mm, or 0 if it is not in profile."""
    return rng.uniform(3.0, 7.0) if rng.random() < 0.8 else 0.0


def _other_side(breast: Breast, rng: np.random.Generator) -> Breast:
    low, high = DENSITIES[breast.density]
    scale = rng.normal(1.0, 0.03)
    return replace(
        breast,
        gland_share=float(np.clip(breast.gland_share + rng.normal(0.0, 0.02), low, high)),
        reach=breast.reach * scale,
        half_width=breast.half_width * scale * rng.normal(1.0, 0.02),
        thickness=breast.thickness * rng.normal(1.0, 0.03),
        nipple=_draw_nipple(rng),
    )


def place_in_view(point: tuple[float, float, float], breast: Breast, view: str) -> tuple[float, float]:
    """Projects a point of the breast to (x, up) in mm."""
    a, lateral, superior = point
    angle = np.deg2rad(OBLIQUE_DEGREES)
    up = lateral if view == "CC" else superior * np.cos(angle) + lateral * np.sin(angle)
    return a, float(up * breast.half_width)


def project(
    breast: Breast, view: str, shape: tuple[int, int], spacing_mm: float, rng: np.random.Generator
) -> Projection:
    """Compresses a breast and projects it to a pixel grid."""
    rows, columns = shape
    nipple_row = rows * (0.5 if view == "CC" else 0.58) + rng.normal(0.0, 0.015) * rows
    x = (np.arange(columns, dtype=np.float32) + 0.5) * spacing_mm
    up = (nipple_row - np.arange(rows, dtype=np.float32) - 0.5) * spacing_mm
    reach = outline(up, breast, view) * (1.0 + 0.008 * _wave(up, breast.half_width, rng))
    mask = x[None] < reach[:, None]
    depth = _depth(mask, breast.thickness, spacing_mm)
    across, along = np.meshgrid(x, up)
    thickness = compressed_thickness(depth, breast.thickness)
    return Projection(breast, view, across, along, depth, mask, thickness, spacing_mm)


def outline(up: Field, breast: Breast, view: str) -> Field:
    """Returns the distance in mm between chest wall and skin at heights `up` (H,) above the nipple."""
    below = up < 0
    if view == "CC":
        reach = breast.reach * _bow(np.abs(up) / breast.half_width, breast.fullness)
    else:
        axilla = 0.5 * breast.reach
        t = np.clip(up / (1.75 * breast.half_width), 0.0, 1.0)
        upper = axilla + (breast.reach - axilla) * (0.5 + 0.5 * np.cos(np.pi * t))
        fold = 0.84 * breast.half_width
        lower = breast.reach * _bow(-up / fold, breast.fullness)
        belly = np.where(up < -0.93 * fold, 0.07 * breast.reach + 0.25 * (-up - 0.93 * fold), 0.0)
        reach = np.where(below, np.maximum(lower, belly), upper)
    return np.asarray(reach + breast.nipple * np.exp(-(np.abs(up / 4.6) ** 2.6)), dtype=np.float32)


def _bow(t: Field, exponent: float) -> Field:
    """Returns the relative height of a superellipse at a relative distance: 1 at 0, and 0 from 1 on."""
    return np.asarray(np.sqrt(1.0 - np.clip(t, 0.0, 1.0) ** exponent))


def _wave(up: Field, length: float, rng: np.random.Generator) -> Field:
    """Returns a smooth random variation along the outline."""
    phases, amplitudes = rng.uniform(0, 2 * np.pi, 3), rng.normal(0.0, 1.0, 3)
    waves = [amplitudes[i] * np.sin(np.pi * (i + 1) * up / length + phases[i]) for i in range(3)]
    return np.asarray(sum(waves), dtype=np.float32)


def _depth(mask: Mask, reach: float, spacing_mm: float) -> Field:
    """Returns the distance to the skin in mm, slightly below 0 outside; the breast extends beyond the image borders."""
    margin = int(np.ceil(reach / spacing_mm))
    padded = np.pad(mask, ((margin, margin), (margin, 0)), mode="edge")
    inside = ndimage.distance_transform_edt(padded)[margin:-margin, margin:] if not padded.all() else margin * mask
    signed = np.where(mask, inside - 0.5, -1.0).astype(np.float32)
    return np.asarray(ndimage.gaussian_filter(signed, 0.6) * spacing_mm)


def compressed_thickness(depth: Field, thickness: float) -> Field:
    """Returns the compressed thickness: constant inside, with a semicircular profile toward the skin, 0 outside."""
    inwards = np.clip(depth / (0.5 * thickness), 0.0, 1.0)
    return np.asarray(thickness * np.sqrt(1.0 - (1.0 - inwards) ** 2), dtype=np.float32)
