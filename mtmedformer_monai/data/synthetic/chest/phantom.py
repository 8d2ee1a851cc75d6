"""Phantom of a healthy chest: organs as smooth attenuation fields, and the lung mask.

Coordinates: x ranges from -1 (left of the image, the patient's right) to 1, and y from 0 (top) to 1. The grid is
slightly
rotated, shifted and scaled for each patient, and all fields and masks with it. All fields are float32 (H, W).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from mtmedformer_monai.data.array_types import Field, Mask
from mtmedformer_monai.data.synthetic.fields import bump, edge, smooth_noise

SIDES = (-1.0, 1.0)
"""Sign of x at the patient's right and left, which are at the image's left and right."""


@dataclass(frozen=True)
class Patient:
    """Individual anatomy. Lengths along x are in units of half the image width, along y of the image height."""

    is_child: bool
    is_female: bool
    lung_top: float
    lung_height: float
    lung_width: float
    lung_gap: float
    heart_size: float
    heart_shift: float
    rib_slope: float
    build: float
    tilt_degrees: float
    zoom: float
    shift: tuple[float, float]


def draw_patient(rng: np.random.Generator) -> Patient:
    """Draws one patient; a third are children, who have shorter chests and larger hearts."""
    is_child = bool(rng.random() < 0.33)
    return Patient(
        is_child=is_child,
        is_female=bool(rng.random() < 0.5) and not is_child,
        lung_top=rng.uniform(0.10, 0.18),
        lung_height=rng.uniform(0.46, 0.58) if is_child else rng.uniform(0.54, 0.70),
        lung_width=rng.uniform(0.26, 0.33) if is_child else rng.uniform(0.29, 0.37),
        lung_gap=rng.uniform(0.16, 0.24),
        heart_size=rng.uniform(0.95, 1.25) if is_child else rng.uniform(0.75, 1.15),
        heart_shift=rng.uniform(0.06, 0.16),
        rib_slope=rng.uniform(0.02, 0.10) if is_child else rng.uniform(0.06, 0.2),
        build=rng.uniform(0.7, 1.3),
        tilt_degrees=rng.normal(0.0, 3.0),
        zoom=rng.uniform(0.9, 1.08),
        shift=(rng.normal(0.0, 0.03), rng.normal(0.0, 0.015)),
    )


def make_grid(shape: tuple[int, int], patient: Patient) -> tuple[Field, Field]:
    """Returns the x and y coordinates of each pixel in the patient's coordinate system."""
    rows, columns = shape
    y = (np.arange(rows, dtype=np.float32) + 0.5) / rows - 0.5
    x = ((np.arange(columns, dtype=np.float32) + 0.5) / columns - 0.5) * 2.0
    x, y = np.meshgrid(x, y)
    angle = np.deg2rad(patient.tilt_degrees)
    turned_x = (x * np.cos(angle) + 2 * y * np.sin(angle)) / patient.zoom - patient.shift[0]
    turned_y = (y * np.cos(angle) - 0.5 * x * np.sin(angle)) / patient.zoom - patient.shift[1]
    return turned_x.astype(np.float32), (turned_y + 0.5).astype(np.float32)


@dataclass(frozen=True)
class Lungs:
    """Both lungs; plain ones end at the heart, varied ones do not.

    Attributes:
        masks: of the right and the left lung.
        depth: relative depth.
        free: mask of what neither heart nor mediastinum covers, where opacities are outlined; None: all of both lungs.
    """

    masks: tuple[Mask, Mask]
    depth: Field
    free: Mask | None = None

    @property
    def mask(self) -> Mask:
        """Mask of both lungs."""
        return self.masks[0] | self.masks[1]


def heart_distance(x: Field, y: Field, patient: Patient) -> Field:
    """Returns a function that is positive inside the heart's shadow, on the patient's left (right of the image)."""
    bottom = patient.lung_top + patient.lung_height
    size = patient.heart_size
    down, across = y - (bottom - 0.09 * size), x - patient.heart_shift
    along, aside = 2 * down * 0.5 + across * 0.86, 2 * down * 0.86 - across * 0.5  # the long axis points down and out
    ventricle = 1.0 - (along / (0.36 * size)) ** 2 - (aside / (0.25 * size)) ** 2
    atrium = 1.0 - ((x + 0.07) / (0.15 * size)) ** 2 - (2 * (y - bottom + 0.12 * size) / (0.28 * size)) ** 2
    return np.maximum(ventricle, atrium).astype(np.float32)


def make_lungs(x: Field, y: Field, patient: Patient, rng: np.random.Generator) -> Lungs:
    """Generates both lungs, bounded by apex, lateral border, diaphragm (higher on the right) and heart."""
    wobble = 0.012 * smooth_noise(x.shape, x.shape[0] / 6, rng)
    heart = heart_distance(x, y, patient)
    masks, depth = [], np.zeros_like(x)
    for side in SIDES:
        inside = np.minimum(lung_distance(x, y, patient, side, wobble), -0.12 * heart)
        mask = largest_part(inside > 0)
        masks.append(mask)
        depth += mask * np.sqrt(np.clip(inside, 0.0, None) / patient.lung_width).astype(np.float32)
    return Lungs((masks[0], masks[1]), np.clip(depth, 0.0, 1.0))


def lung_distance(
    x: Field,
    y: Field,
    patient: Patient,
    side: float,
    wobble: Field,
    stretch: float = 1.0,
    taper: float = 0.5,
    lean: float = 0.09,
    curve: float = 0.16,
) -> Field:
    """Returns a function that is positive inside a lung, with the part behind the heart.

    Args:
        x: coordinates, in half image widths.
        y: coordinates, in image heights.
        patient: the anatomy.
        side: -1 for the patient's right lung (left of the image), 1 for the left one.
        wobble: unevenness of the lateral border.
        stretch: factor of the height.
        taper: height, from the apex on, at which the lung has its full width.
        lean: how far the apex leans inward.
        curve: how far the diaphragm falls from the middle of the lung to its borders.
    """
    center = side * (patient.lung_gap / 2 + patient.lung_width * 0.9)
    height = patient.lung_height * (1.0 if side > 0 else 0.96) * stretch
    t = (y - patient.lung_top) / height
    profile = np.sqrt(np.clip(1.0 - (1.0 - np.clip(t / taper, 0.0, 1.0)) ** 2, 0.0, 1.0)) * (0.86 + 0.14 * t)
    lateral = patient.lung_width * profile + wobble - np.abs(x - center + side * lean * (1.0 - t)) * 1.02
    dome = patient.lung_top + height * (1.0 + curve * ((x - center) / patient.lung_width) ** 2) - y
    return np.asarray(np.where(t > 0, np.minimum(lateral, dome * 1.6), -1.0), dtype=np.float32)


def largest_part(mask: Mask) -> Mask:
    """Returns the largest connected component of a mask, which removes remainders behind heart and spine."""
    labels, count = ndimage.label(mask)
    if count < 2:
        return mask
    return np.asarray(labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:])))


def render_anatomy(x: Field, y: Field, patient: Patient, lungs: Lungs, rng: np.random.Generator) -> Field:
    """Returns the attenuation of the healthy anatomy; about 0 in air and 2 in the abdomen."""
    body = _body(x, y, patient)
    field = body * (1.15 + 0.25 * patient.build)
    field -= 0.95 * lungs.depth
    field += _soft_organs(x, y, patient, rng) * body
    field += bones(x, y, patient) * body
    field += vessels(x, y, patient, lungs, rng)
    field += 0.035 * smooth_noise(x.shape, x.shape[0] / 10, rng) * body
    return np.clip(field, 0.0, None).astype(np.float32)


def _body(x: Field, y: Field, patient: Patient) -> Field:
    """Returns a soft mask of neck, shoulders and trunk."""
    trunk = 0.5 * patient.lung_gap + 2 * patient.lung_width + 0.10 * patient.build
    neck = 0.26 + 0.04 * patient.build
    half = neck + (trunk + 0.12 - neck) * edge(y - 0.075 - 0.06 * np.abs(x), 0.02)
    return edge(half - np.abs(x), 0.02)


def _soft_organs(x: Field, y: Field, patient: Patient, rng: np.random.Generator) -> Field:
    bottom = patient.lung_top + patient.lung_height
    heart = 0.42 * np.sqrt(np.clip(heart_distance(x, y, patient), 0.0, None))
    mediastinum = 0.45 * edge(patient.lung_gap * 0.62 - np.abs(x - 0.02), 0.025) * edge(y - 0.08, 0.03)
    trachea = -0.22 * bump(x + 0.01, 0.035) * edge(0.36 - y, 0.02)
    belly = 0.45 * edge(y - bottom - 0.03, 0.035)
    stomach_x, stomach_y = rng.uniform(0.25, 0.45), bottom + rng.uniform(0.06, 0.11)
    bubble = 1.0 - ((x - stomach_x) / rng.uniform(0.08, 0.18)) ** 2 - ((y - stomach_y) / rng.uniform(0.03, 0.06)) ** 2
    field = heart + mediastinum + trachea + belly - rng.uniform(0.1, 0.7) * edge(bubble, 0.15)
    if patient.is_female:
        for side in SIDES:
            reach = ((x - side * rng.uniform(0.36, 0.46)) / 0.3) ** 2 + ((y - bottom + 0.06) / 0.17) ** 2
            field = field + rng.uniform(0.08, 0.25) * edge(1.0 - reach, 0.06)
    return field.astype(np.float32)


def bones(x: Field, y: Field, patient: Patient) -> Field:
    """Returns spine, ribs, clavicles and scapulae."""
    bottom = patient.lung_top + patient.lung_height
    spine = 0.28 * edge(0.085 - np.abs(x), 0.015) * (1.0 + 0.25 * np.sin(2 * np.pi * y * 15))
    field = spine.astype(np.float32)
    thickness = 0.009 if patient.is_child else 0.0105
    reach = patient.lung_gap / 2 + 1.95 * patient.lung_width
    for rib in range(9):
        start = patient.lung_top - 0.015 + rib * (bottom - patient.lung_top) / 8.3
        for side in SIDES:
            s = np.clip(side * x / reach, 0.0, 1.05)
            posterior = start - 0.05 * np.sin(np.pi * s) + patient.rib_slope * s**2
            anterior = start + 0.10 + patient.rib_slope * (1.6 - 1.2 * s)
            beside = edge(side * x - 0.09, 0.02)
            field += 0.20 * beside * bump(y - posterior, thickness) * edge(1.0 - s, 0.02)
            field += 0.09 * beside * bump(y - anterior, thickness * 1.1) * edge(s - 0.45, 0.08) * edge(1.0 - s, 0.02)
    for side in SIDES:
        s = side * x
        clavicle = patient.lung_top + 0.045 - 0.11 * s + 0.02 * np.sin(4 * s)
        field += 0.22 * bump(y - clavicle, 0.012) * edge(s - 0.08, 0.02) * edge(0.72 - s, 0.03)
        scapula = patient.lung_top + 0.04 + 1.25 * (s - 0.56)
        field += (
            0.10 * edge(0.10 - np.abs(s - 0.72 - 0.25 * (y - 0.3)), 0.03) * edge(0.42 - y, 0.03) * edge(y - 0.1, 0.03)
        )
        field += 0.05 * bump(y - scapula, 0.012) * edge(0.4 - y, 0.03) * edge(s - 0.5, 0.02)
    return field


def vessels(x: Field, y: Field, patient: Patient, lungs: Lungs, rng: np.random.Generator) -> Field:
    """Returns the hila and the lung markings that fade with the distance from them."""
    hilum_y = patient.lung_top + 0.48 * patient.lung_height
    field = np.zeros_like(x)
    for side in SIDES:
        away = np.hypot((x - side * (patient.lung_gap / 2 + 0.05)), 1.6 * (y - hilum_y - 0.01 * side))
        field += (0.26 * np.exp(-((away / 0.10) ** 2))).astype(np.float32)
        ridges = np.zeros_like(x)
        for scale, strength in ((14, 1.0), (26, 0.8), (44, 0.6)):
            ridges += strength * bump(smooth_noise(x.shape, x.shape[0] / scale, rng), 0.22)
        field += (0.17 * ridges * np.exp(-away / 0.32)).astype(np.float32)
    return field * np.clip(lungs.depth * 1.6, 0.0, 1.0) * rng.uniform(0.7, 1.3)
