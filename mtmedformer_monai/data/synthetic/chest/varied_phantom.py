"""Phantom of a chest as varied as on films of many hospitals, with lungs outlined as radiologists do.

The phantom of `phantom.py` shows one projection of one body in front of air. Here the field of view, the shoulders and
arms, the density of mediastinum and abdomen, gas, lines and the processing of the image vary widely. The lungs' outline
contains what lies behind the heart, as radiologists' masks do, and ends at the diaphragm. Coordinates are those of
`phantom.py`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from mtmedformer_monai.data.array_types import Field, Mask
from mtmedformer_monai.data.synthetic.draw_lines import Curve, draw_curves, wander
from mtmedformer_monai.data.synthetic.fields import bump, edge, sharpen, smooth_noise

from .phantom import (
    SIDES,
    Lungs,
    Patient,
    bones,
    draw_patient,
    heart_distance,
    largest_part,
    lung_distance,
    vessels,
)


def draw_varied_patient(rng: np.random.Generator) -> Patient:
    """Draws one patient, with wider ranges of build, position and field of view."""
    return replace(
        draw_patient(rng),
        zoom=rng.uniform(0.9, 1.3),
        lung_top=rng.uniform(0.08, 0.18),
        lung_height=rng.uniform(0.42, 0.72),
        lung_width=rng.uniform(0.25, 0.35),
        lung_gap=rng.uniform(0.15, 0.4),
        heart_size=rng.uniform(0.7, 1.5),
        heart_shift=rng.uniform(0.02, 0.2),
        tilt_degrees=rng.normal(0.0, 4.0),
        shift=(rng.normal(0.0, 0.05), rng.normal(0.0, 0.03)),
    )


def make_varied_chest(x: Field, y: Field, patient: Patient, rng: np.random.Generator) -> tuple[Lungs, Field]:
    """Generates both lungs, whole and thus partly behind the heart, and the attenuation of the healthy anatomy."""
    lungs = _lungs(x, y, patient, rng)
    field = _soft_tissue(x, y, patient, rng)
    inside = np.clip(field, 0.0, 1.0)
    field -= rng.uniform(0.8, 1.05) * lungs.depth
    field += inside * (_mediastinum(x, y, patient, rng) + _abdomen(x, y, patient, lungs, rng))
    field += inside * (_breasts(x, y, patient, rng) + _upper_ribs(x, y, patient, rng))
    field += inside * rng.uniform(0.6, 1.3) * bones(x, y, patient)
    field += vessels(x, y, patient, lungs, rng)
    field += inside * rng.uniform(0.02, 0.06) * smooth_noise(x.shape, x.shape[0] / 10, rng)
    field += _lines(x.shape, rng)
    return lungs, np.clip(field, 0.0, None).astype(np.float32)


def enhance(image: Field, rng: np.random.Generator) -> Field:
    """Raises the local contrast of two thirds of the images, as the processing of digital radiographs does."""
    strength, scale = rng.uniform(-0.5, 1.0), rng.uniform(0.01, 0.08) * image.shape[0]
    if strength <= 0:
        return image
    return np.asarray(np.clip(sharpen(image, strength, scale), 0.0, 1.0), dtype=np.float32)


def _lungs(x: Field, y: Field, patient: Patient, rng: np.random.Generator) -> Lungs:
    """Generates lungs whose contrast begins at their very border, so that what is seen is what is outlined."""
    wobble = 0.012 * smooth_noise(x.shape, x.shape[0] / 6, rng)
    behind_heart = rng.uniform(0.4, 1.0) * edge(0.12 * heart_distance(x, y, patient), 0.02)
    taper, lean, border = rng.uniform(0.3, 0.6), rng.uniform(0.03, 0.12), rng.uniform(0.35, 0.7)
    masks, depth = [], np.zeros_like(x)
    for side in SIDES:
        stretch, curve = rng.uniform(0.93, 1.04), rng.uniform(0.08, 0.28)
        inside = lung_distance(x, y, patient, side, wobble, stretch, taper, lean, curve)
        mask = largest_part(inside > 0)
        masks.append(mask)
        relief = border + (1.0 - border) * np.sqrt(np.clip(inside, 0.0, None) / patient.lung_width)
        depth += (mask * (1.0 - behind_heart) * relief).astype(np.float32)
    blur = rng.uniform(0.002, 0.006) * x.shape[0]
    free = (heart_distance(x, y, patient) < 0) & ~_beside_spine(x, patient, rng)
    return Lungs((masks[0], masks[1]), ndimage.gaussian_filter(np.clip(depth, 0.0, 1.0), blur), free)


def _beside_spine(x: Field, patient: Patient, rng: np.random.Generator) -> Mask:
    """Returns a strip of up to a third of each lung, next to the mediastinum."""
    width = patient.lung_gap / 2 + rng.uniform(0.0, 0.6) * patient.lung_width
    return np.asarray(np.abs(x) < width + 0.03 * smooth_noise(x.shape, x.shape[0] / 6, rng))


def _soft_tissue(x: Field, y: Field, patient: Patient, rng: np.random.Generator) -> Field:
    """Returns trunk, neck, shoulders and sometimes arms; the trunk is thinner at its sides and at the top."""
    far = np.abs(x)
    width = 0.5 * patient.lung_gap + 1.95 * patient.lung_width + rng.uniform(0.02, 0.2)
    axilla = patient.lung_top + rng.uniform(0.12, 0.34)
    thin = 1.0 - rng.uniform(0.0, 0.45) * (far / width) ** 4
    field: Field = edge(width - far, 0.02) * edge(y - 0.08 - 0.05 * far, 0.03) * thin
    neck = edge(rng.uniform(0.2, 0.34) - far, 0.03) * edge(0.3 - y, 0.05)
    field = np.maximum(field, rng.uniform(0.5, 1.0) * neck)
    slope, fall = rng.uniform(0.02, 0.22), rng.uniform(-0.1, 0.25)
    shoulder = edge(y - 0.06 - slope * far, 0.02) * edge(axilla - y + fall * (far - width), 0.03)
    field = np.maximum(field, rng.uniform(0.3, 0.95) * shoulder)
    if rng.random() < 0.6:
        gap = rng.uniform(-0.03, 0.25) + rng.uniform(-0.1, 0.3) * (y - axilla)
        arm = edge(far - width - gap, 0.015) * edge(y - axilla, 0.04)
        field = np.maximum(field, rng.uniform(0.3, 0.95) * arm)
    for side in SIDES:
        field = _shoulder_joint(x, y, field, (side * width, axilla), rng)
    fade = rng.uniform(0.0, 0.35) * edge(patient.lung_top + rng.uniform(0.02, 0.2) - y, 0.06)
    return np.asarray(field * (1.0 - fade) * (1.15 + 0.25 * patient.build), dtype=np.float32)


def _shoulder_joint(x: Field, y: Field, field: Field, axilla: tuple[float, float], rng: np.random.Generator) -> Field:
    """Adds the head of the humerus, and dark fat around the armpit."""
    side = np.sign(axilla[0])
    place = axilla[0] + side * rng.uniform(0.0, 0.2), axilla[1] - rng.uniform(0.0, 0.15)
    field = field + rng.uniform(0.0, 0.25) * _ellipse(x, y, place, (0.12, 0.06), 0.0, 0.1) * np.clip(field, 0.0, 1.0)
    for _ in range(int(rng.integers(0, 5))):
        place = axilla[0] + side * rng.uniform(-0.08, 0.35), axilla[1] + rng.uniform(-0.2, 0.25)
        radii, angle = (rng.uniform(0.03, 0.12), rng.uniform(0.01, 0.04)), rng.uniform(0.0, np.pi)
        field = field * (1.0 - rng.uniform(0.1, 0.5) * _ellipse(x, y, place, radii, angle, 0.2))
    return field


def _mediastinum(x: Field, y: Field, patient: Patient, rng: np.random.Generator) -> Field:
    """Returns heart, mediastinum, in half of the patients the aortic knob, and the trachea."""
    field = rng.uniform(0.2, 0.5) * np.sqrt(np.clip(heart_distance(x, y, patient), 0.0, None))
    width = patient.lung_gap * rng.uniform(0.4, 0.75)
    field = field + rng.uniform(0.0, 0.5) * edge(width - np.abs(x - 0.02), 0.025) * edge(y - 0.08, 0.03)
    if rng.random() < 0.5:
        place = rng.uniform(0.06, 0.12), patient.lung_top + 0.13
        field = field + rng.uniform(0.1, 0.3) * _ellipse(x, y, place, (0.09, 0.05), 0.0, 0.1)
    trachea = bump(x + rng.normal(0.0, 0.02), 0.035) * edge(0.36 - y, 0.02)
    return np.asarray(field - rng.uniform(0.05, 0.3) * trachea, dtype=np.float32)


def _abdomen(x: Field, y: Field, patient: Patient, lungs: Lungs, rng: np.random.Generator) -> Field:
    """Returns the abdomen, from darker to brighter than the chest wall, with up to five bubbles of gas."""
    bottom = patient.lung_top + patient.lung_height
    density = rng.uniform(-0.55, 0.5) + rng.uniform(0.0, 0.12) * smooth_noise(x.shape, x.shape[0] / 9, rng)
    field = density * edge(y - bottom - 0.02, 0.03)
    for _ in range(int(rng.integers(0, 6))):
        place = rng.uniform(-0.7, 0.8), bottom + rng.uniform(0.02, 0.25)
        radii, angle = (rng.uniform(0.05, 0.25), rng.uniform(0.02, 0.07)), rng.normal(0.0, 0.4)
        field = field - rng.uniform(0.2, 0.9) * _ellipse(x, y, place, radii, angle, 0.15) * edge(y - bottom, 0.02)
    return np.asarray(field * ~lungs.mask, dtype=np.float32)


def _breasts(x: Field, y: Field, patient: Patient, rng: np.random.Generator) -> Field:
    """Returns the shadows of breasts or pectoral muscles over the bases, in half of the patients."""
    field = np.zeros_like(x)
    if rng.random() < 0.5:
        bottom = patient.lung_top + patient.lung_height
        strength, height = rng.uniform(0.05, 0.35), rng.uniform(0.1, 0.22)
        for side in SIDES:
            place = side * rng.uniform(0.32, 0.5), bottom - 0.06
            field += strength * _ellipse(x, y, place, (0.34, height), 0.0, 0.1)
    return field


def _upper_ribs(x: Field, y: Field, patient: Patient, rng: np.random.Generator) -> Field:
    """Returns a bright rib or clavicle across each apex, which is no border of the lung."""
    field = np.zeros_like(x)
    for side in SIDES:
        middle = patient.lung_top + rng.uniform(0.01, 0.1) + rng.uniform(-0.25, 0.25) * (np.abs(x) - 0.3)
        ridge = bump(y - middle, rng.uniform(0.008, 0.02)) * edge(side * x - 0.08, 0.03) * edge(0.75 - side * x, 0.05)
        field += rng.uniform(0.0, 0.35) * ridge
    return field


def _lines(shape: tuple[int, int], rng: np.random.Generator) -> Field:
    """Returns up to four wires or catheters, in half of the images."""
    if rng.random() < 0.5:
        return np.zeros(shape, np.float32)
    rows, columns = shape
    curves = []
    for _ in range(int(rng.integers(1, 5))):
        start, heading = (rng.uniform(0, columns), rng.uniform(0, 0.6 * rows)), rng.uniform(0, 2 * np.pi)
        points = wander(start, heading, rows / 30, 30, rng, turn=0.15)
        curves.append(Curve(points, max(0.5, rows * rng.uniform(0.004, 0.012)), rng.uniform(0.1, 0.5)))
    return draw_curves(shape, curves)


def _ellipse(
    x: Field, y: Field, place: tuple[float, float], radii: tuple[float, float], angle: float, softness: float
) -> Field:
    """Returns an ellipse, 1 inside and 0 outside.

    Args:
        x: coordinates, in half image widths.
        y: coordinates, in image heights.
        place: x and y of its center.
        radii: along x and y before it is turned.
        angle: in radians, from x to y.
        softness: of its border, as a fraction of the radii.
    """
    across, down = x - place[0], y - place[1]
    along = across * np.cos(angle) + 2.0 * down * np.sin(angle)
    aside = down * np.cos(angle) - 0.5 * across * np.sin(angle)
    return edge(1.0 - (along / radii[0]) ** 2 - (aside / radii[1]) ** 2, softness)
