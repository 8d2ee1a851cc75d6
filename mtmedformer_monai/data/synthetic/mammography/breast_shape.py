"""The shape of a synthetic breast: in three dimensions, and as compression and projection show it in CC and MLO.

Lengths are in mm at the patient. A point of the breast is (a, l, s): `a` mm in front of the chest wall, and `l` lateral
and `s` superior as shares of the breast's half-width at the chest wall. In an image, `x` runs from the chest wall
(column 0) to the nipple, and `up` from the nipple's level to the top: lateral in CC, superior and lateral in MLO.
An X-ray keeps `a`, so a lesion is as far from the chest wall in one view as in the other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import ndimage

from mtmedformer_monai.data.array_types import Field, Mask

VIEWS = ("CC", "MLO")
OBLIQUE_DEGREES = 45.0
"""By how much the beam of an MLO is turned from the vertical: it enters above and medially."""

DENSITIES = {"A": (0.02, 0.13), "B": (0.20, 0.36), "C": (0.46, 0.64), "D": (0.76, 0.94)}
"""Share of the fibroglandular region that is dense, by BI-RADS class; the classes leave gaps."""

_DENSITY_CHANCES = (0.15, 0.35, 0.35, 0.15)


@dataclass(frozen=True)
class Breast:
    """What differs from breast to breast.

    Attributes:
        density: BI-RADS class, 'A' to 'D'.
        gland_share: share of the fibroglandular region that is dense.
        reach: chest wall to nipple.
        half_width: half of the breast's width along the chest wall.
        thickness: compressed.
        fullness: exponent of the outline; 2 is an ellipse.
        nipple: how far it stands out; 0 if not in profile.
        pectoral: where the muscle's edge meets the top of an MLO, and how far down it reaches.
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
    """A breast in one view on a grid of pixels (H, W), chest wall at column 0.

    Attributes:
        breast: which one.
        view: 'CC' or 'MLO'.
        x: mm in front of the chest wall.
        up: mm above the nipple's level.
        depth: mm to the nearest skin, below 0 outside.
        mask: the breast (in MLO with the axilla and what shows of the belly).
        thickness: mm of tissue that the beam crosses; it falls off near the skin, where the breast bulges.
        spacing_mm: of the pixels.
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
        """Rows and columns."""
        return self.mask.shape[0], self.mask.shape[1]

    @cached_property
    def from_nipple(self) -> tuple[Field, Field]:
        """Polar coordinates of each pixel: mm from the nipple, and radians above the line to the chest wall."""
        back = self.breast.reach - self.x
        return np.hypot(back, self.up), np.arctan2(self.up, back)


def draw_breasts(rng: np.random.Generator) -> tuple[Breast, Breast]:
    """Draws a patient's right and left breast: similar in shape, of the same density."""
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
    """Most stand out by 3 to 7 mm; some are not in profile."""
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
    """Where a point of the breast is seen: (x, up) in mm."""
    a, lateral, superior = point
    angle = np.deg2rad(OBLIQUE_DEGREES)
    up = lateral if view == "CC" else superior * np.cos(angle) + lateral * np.sin(angle)
    return a, float(up * breast.half_width)


def project(
    breast: Breast, view: str, shape: tuple[int, int], spacing_mm: float, rng: np.random.Generator
) -> Projection:
    """Compresses a breast, and lays it on a grid of pixels."""
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
    """How far the skin is from the chest wall, mm, at heights `up` (H,) above the nipple."""
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
    """A superellipse's height over its half-axis: 1 at 0, 0 from 1 on."""
    return np.asarray(np.sqrt(1.0 - np.clip(t, 0.0, 1.0) ** exponent))


def _wave(up: Field, length: float, rng: np.random.Generator) -> Field:
    """A slow random wave along the outline."""
    phases, amplitudes = rng.uniform(0, 2 * np.pi, 3), rng.normal(0.0, 1.0, 3)
    waves = [amplitudes[i] * np.sin(np.pi * (i + 1) * up / length + phases[i]) for i in range(3)]
    return np.asarray(sum(waves), dtype=np.float32)


def _depth(mask: Mask, reach: float, spacing_mm: float) -> Field:
    """Distance to the skin in mm, and just below 0 outside; the breast goes on beyond the image's edges."""
    margin = int(np.ceil(reach / spacing_mm))
    padded = np.pad(mask, ((margin, margin), (margin, 0)), mode="edge")
    inside = ndimage.distance_transform_edt(padded)[margin:-margin, margin:] if not padded.all() else margin * mask
    signed = np.where(mask, inside - 0.5, -1.0).astype(np.float32)
    return np.asarray(ndimage.gaussian_filter(signed, 0.6) * spacing_mm)


def compressed_thickness(depth: Field, thickness: float) -> Field:
    """Tissue under the paddle: `thickness` inside, a half circle's fall toward the skin, 0 outside."""
    inwards = np.clip(depth / (0.5 * thickness), 0.0, 1.0)
    return np.asarray(thickness * np.sqrt(1.0 - (1.0 - inwards) ** 2), dtype=np.float32)
