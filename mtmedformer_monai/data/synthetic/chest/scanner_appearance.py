"""Simulates how a scanner renders a chest: exposure, lookup table, collimation borders and side marker."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from mtmedformer_monai.data.array_types import Field
from mtmedformer_monai.data.synthetic.detector import detect

MARKER_SHARE = 0.035
"""Height of the side marker, in image heights."""


@dataclass(frozen=True)
class Scanner:
    """X-ray device of one site.

    Attributes:
        name: name of the site.
        photometric: 'MONOCHROME1' or 'MONOCHROME2'.
        bits_stored: 10 to 16.
        spacing_mm: spacing of the detector elements in mm, at 256 columns.
        aspect: number of rows divided by number of columns.
        contrast: slope of the lookup table.
        noise: standard deviation of the quantum noise at unit exposure.
        blur: standard deviation of the detector's blur, in pixels.
        view: 'PA' or 'AP'.
        border: maximum width of collimated borders, in image widths.
    """

    name: str
    photometric: str
    bits_stored: int
    spacing_mm: float
    aspect: float
    contrast: float
    noise: float
    blur: float
    view: str
    border: float


SCANNERS = (
    Scanner("site_a", "MONOCHROME2", 12, 1.4, 1.0, 1.0, 0.020, 0.4, "PA", 0.0),
    Scanner("site_b", "MONOCHROME1", 10, 1.6, 1.2, 1.5, 0.035, 0.8, "AP", 0.05),
    Scanner("site_c", "MONOCHROME2", 16, 1.2, 0.9, 0.75, 0.028, 0.6, "PA", 0.03),
)
"""Three heterogeneous devices; their appearances overlap, since the exposure also varies between images."""


def expose(attenuation: Field, scanner: Scanner, rng: np.random.Generator) -> Field:
    """Converts attenuation to the displayed image: float32 (H, W) in [0, 1], where brighter is denser.

    The dose behind the patient follows from Beer's law, with quantum noise proportional to its square root. As in
    radiography systems, the logarithm of the signal is taken, and the site's sigmoid lookup table is applied.
    """
    dose = np.exp(-1.6 * attenuation) * rng.uniform(0.7, 1.4)
    logarithm = -np.log(detect(dose, 0.08, scanner.noise, scanner.blur, rng))
    low, high = np.percentile(logarithm, [rng.uniform(0.5, 4.0), rng.uniform(97.0, 99.8)])
    level = (logarithm - low) / max(float(high - low), 1e-6)
    slope, middle = 4.0 * scanner.contrast * rng.uniform(0.85, 1.15), rng.uniform(0.42, 0.58)
    curve = 1.0 / (1.0 + np.exp(-slope * (level - middle)))
    ends = 1.0 / (1.0 + np.exp(-slope * (np.array([0.0, 1.0]) - middle)))
    return np.clip((curve - ends[0]) / (ends[1] - ends[0]), 0.0, 1.0).astype(np.float32)


def add_border_and_marker(image: Field, scanner: Scanner, rng: np.random.Generator) -> Field:
    """Adds black collimation borders, and burns in an L beside the patient's left shoulder (right of the image)."""
    rows, columns = image.shape
    marked = image.copy()
    width = int(rng.uniform(0.0, scanner.border) * columns)
    if width:
        marked[:, :width], marked[:, columns - width :], marked[:width], marked[rows - width :] = 0, 0, 0, 0
    size = max(5, int(MARKER_SHARE * rows))
    canvas = Image.new("L", (columns, rows))
    left, top = int(columns * rng.uniform(0.86, 0.92)), int(rows * rng.uniform(0.04, 0.09))
    pen = ImageDraw.Draw(canvas)
    stroke = max(1, size // 5)
    pen.line([(left, top), (left, top + size), (left + size * 2 // 3, top + size)], fill=255, width=stroke)
    return np.maximum(marked, np.asarray(canvas, dtype=np.float32) / 255.0 * 0.97)
