"""How a device shows a breast: raw detector values, a presented image with its VOI LUT, or a digitized film."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from mtmedformer_monai.data.array_types import Field, Mask
from mtmedformer_monai.data.synthetic.detector import detect
from mtmedformer_monai.data.synthetic.fields import smooth_noise

from .breast_attenuation import FAT_PER_MM
from .breast_shape import Projection
from .scanner import MammographyScanner

SCATTER = 0.01
"""Share of scattered radiation that the grid lets through."""

RAW_OFFSET = 0.003
"""What a detector counts in the dark, as a share of what it holds."""

PADDING_LIMIT = 30
"""Stored values from 0 to this are Pixel Padding where a device pads."""

LEAST_RANGE = 0.9
"""Attenuation between what is shown dark and bright, at least: a fatty breast is not stretched to white."""

DARK, SPAN = 0.28, 0.44
"""Where the breast's darkest percent is stored, and how far its brightest is above it, as shares of all values."""


@dataclass(frozen=True)
class Window:
    """A window on shares of the stored range, brighter is denser.

    Attributes:
        center: Window Center.
        width: Window Width.
        name: for people.
    """

    center: float
    width: float
    name: str


@dataclass(frozen=True)
class Appearance:
    """An image before it is stored.

    Attributes:
        values: (H, W) shares of the stored range in [0, 1]: denser is larger, but in a raw image, where it is smaller.
        windows: the device's own first, then alternatives; none in a raw image.
    """

    values: Field
    windows: tuple[Window, ...]


def take_image(
    view: Projection, attenuation: Field, scanner: MammographyScanner, rng: np.random.Generator
) -> Appearance:
    """Takes an image as the device does."""
    take = take_raw if scanner.is_raw else take_film if scanner.is_film else take_presented
    return take(view, attenuation, scanner, rng)


def take_raw(view: Projection, attenuation: Field, scanner: MammographyScanner, rng: np.random.Generator) -> Appearance:
    """FOR PROCESSING: what the detector counts, linear in the dose; beside a thick breast, air saturates it.

    The automatic exposure brings the dose behind the breast to about a tenth of what the detector holds.
    """
    signal = _signal(attenuation, scanner, view.spacing_mm, rng)
    behind = float(np.median(signal[view.mask])) if view.mask.any() else 1.0
    return Appearance(np.clip(RAW_OFFSET + signal * rng.uniform(0.06, 0.13) / behind, 0.0, 1.0), ())


def take_presented(
    view: Projection, attenuation: Field, scanner: MammographyScanner, rng: np.random.Generator
) -> Appearance:
    """FOR PRESENTATION: logarithm, thickness evened out near the skin, detail sharpened."""
    display = scanner.display
    logarithm = -np.log(_signal(attenuation, scanner, view.spacing_mm, rng))
    missing = FAT_PER_MM * (view.breast.thickness - view.thickness) * view.mask
    level = logarithm + display.equalize * ndimage.gaussian_filter(missing, 1.2 / view.spacing_mm) * view.mask
    level = level + display.sharpen * (level - ndimage.gaussian_filter(level, 0.9 / view.spacing_mm))
    low, high = _range_of(level, view.mask, rng)
    shown = np.clip(DARK + SPAN * (level - low) / (high - low), 0.0, 1.0)
    if display.has_padding:
        least = (PADDING_LIMIT + 1.0) / (2**display.bits_stored - 1)
        shown = np.where(ndimage.binary_dilation(view.mask, iterations=2), np.clip(shown, least, None), 0.0)
    return Appearance(shown, _draw_windows(scanner, rng))


def _draw_windows(scanner: MammographyScanner, rng: np.random.Generator) -> tuple[Window, ...]:
    """The device's window, which the exposure moves a little; with a lookup table a harder and a softer one too."""
    middle = DARK + SPAN * rng.uniform(0.45, 0.6)
    width = SPAN / scanner.display.contrast * rng.uniform(1.1, 1.4)
    kinds = ((0.0, 1.0, "NORMAL"), (0.03, 0.8, "HARDER"), (-0.03, 1.25, "SOFTER"))
    windows = [Window(middle + move * SPAN, width * scale, name) for move, scale, name in kinds]
    return tuple(windows if scanner.display.voi == "LUT" else windows[:1])


def take_film(
    view: Projection, attenuation: Field, scanner: MammographyScanner, rng: np.random.Generator
) -> Appearance:
    """A film and its scan: the skin's rim is dark, the base is not black, there are grain, dust and at times tape."""
    level = -np.log(_signal(attenuation, scanner, view.spacing_mm, rng))
    low, high = _range_of(level, view.depth > 0.3 * view.breast.thickness, rng)
    slope = 5.0 * scanner.display.contrast * rng.uniform(0.85, 1.15)
    curve = 1.0 / (1.0 + np.exp(-slope * ((level - low) / (high - low) - rng.uniform(0.3, 0.45))))
    base = rng.uniform(0.02, 0.06) + 0.012 * smooth_noise(view.shape, view.shape[0] / 3, rng)
    grain = ndimage.gaussian_filter(rng.standard_normal(view.shape), 0.6) * 0.02
    film = base + (0.94 - base) * curve + grain + _dust(view.shape, rng)
    if rng.random() < 0.4:
        film = _with_tape(film, rng)
    return Appearance(np.clip(film, 0.0, 1.0), (Window(0.5, 1.0, "NORMAL"),))


def _signal(attenuation: Field, scanner: MammographyScanner, spacing_mm: float, rng: np.random.Generator) -> Field:
    receptor = scanner.receptor
    dose = np.exp(-attenuation)
    return detect(dose, SCATTER, receptor.noise, receptor.blur_mm / spacing_mm, rng)


def _range_of(level: Field, mask: Mask, rng: np.random.Generator) -> tuple[float, float]:
    """Levels that are shown dark and bright: percentiles of the breast, far enough apart that fat stays dark."""
    inside = level[mask] if mask.any() else level.ravel()
    low, high = np.percentile(inside, [rng.uniform(1.0, 4.0), rng.uniform(98.5, 99.7)])
    return float(low), float(max(high, low + LEAST_RANGE))


def _dust(shape: tuple[int, int], rng: np.random.Generator) -> Field:
    """A few bright specks on the film."""
    specks = np.zeros(shape, dtype=np.float32)
    count = int(rng.integers(2, 10))
    specks[rng.integers(0, shape[0], count), rng.integers(0, shape[1], count)] = rng.uniform(0.2, 0.6, count)
    return specks


def _with_tape(film: Field, rng: np.random.Generator) -> Field:
    """A bright strip along the upper or lower edge."""
    rows = film.shape[0]
    width = max(1, int(rng.uniform(0.01, 0.05) * rows))
    taped = film.copy()
    strip = slice(0, width) if rng.random() < 0.7 else slice(rows - width, rows)
    taped[strip] = 0.55 + 0.4 * taped[strip]
    return taped
