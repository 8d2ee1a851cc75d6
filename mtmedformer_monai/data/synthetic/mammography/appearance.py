"""Simulates a device's rendering of a breast: FOR PROCESSING, FOR PRESENTATION with VOI LUT, or digitized film."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from mtmedformer_monai.data.array_types import Field, Mask
from mtmedformer_monai.data.synthetic.detector import detect
from mtmedformer_monai.data.synthetic.fields import sharpen, smooth_noise

from .breast_attenuation import FAT_PER_MM
from .breast_shape import Projection
from .scanner import MammographyScanner

SCATTER = 0.01
"""Scattered radiation that passes the grid, as a fraction of the dose."""

RAW_OFFSET = 0.003
"""Dark signal of the detector, as a fraction of its saturation."""

PADDING_LIMIT = 30
"""Pixel Padding Range Limit: on devices with padding, stored values from 0 to this are padding."""

LEAST_RANGE = 0.9
"""Minimum attenuation range that is mapped to the display range, so that a fatty breast is not stretched to white."""

DARK, SPAN = 0.28, 0.44
"""Stored value of the breast's low percentile, and distance of its high percentile, as fractions of the range."""


@dataclass(frozen=True)
class Window:
    """A window in fractions of the stored range, where brighter is denser.

    Attributes:
        center: Window Center.
        width: Window Width.
        name: Window Center & Width Explanation.
    """

    center: float
    width: float
    name: str


@dataclass(frozen=True)
class Appearance:
    """Appearance of an image on a device, before it is quantized and stored.

    Attributes:
        values: (H, W) in [0, 1], fractions of the stored range. Denser tissue has larger values, except in FOR
            PROCESSING images, where it has smaller values.
        windows: the device's default window, followed by alternatives; empty for FOR PROCESSING images.
    """

    values: Field
    windows: tuple[Window, ...]


def take_image(
    view: Projection, attenuation: Field, scanner: MammographyScanner, rng: np.random.Generator
) -> Appearance:
    """Simulates the acquisition of an image with the given device."""
    take = take_raw if scanner.is_raw else take_film if scanner.is_film else take_presented
    return take(view, attenuation, scanner, rng)


def take_raw(view: Projection, attenuation: Field, scanner: MammographyScanner, rng: np.random.Generator) -> Appearance:
    """Simulates a FOR PROCESSING image: detector values linear in the dose, possibly saturated in air.

    Automatic exposure control sets the median dose behind the breast to about a tenth of the detector's saturation.
    """
    signal = _signal(attenuation, scanner, view.spacing_mm, rng)
    behind = float(np.median(signal[view.mask])) if view.mask.any() else 1.0
    return Appearance(np.clip(RAW_OFFSET + signal * rng.uniform(0.06, 0.13) / behind, 0.0, 1.0), ())


def take_presented(
    view: Projection, attenuation: Field, scanner: MammographyScanner, rng: np.random.Generator
) -> Appearance:
    """Simulates a FOR PRESENTATION image: logarithm, thickness equalization near the skin, and sharpening."""
    display = scanner.display
    logarithm = -np.log(_signal(attenuation, scanner, view.spacing_mm, rng))
    missing = FAT_PER_MM * (view.breast.thickness - view.thickness) * view.mask
    level = logarithm + display.equalize * ndimage.gaussian_filter(missing, 1.2 / view.spacing_mm) * view.mask
    level = sharpen(level, display.sharpen, 0.9 / view.spacing_mm)
    low, high = _range_of(level, view.mask, rng)
    shown = np.clip(DARK + SPAN * (level - low) / (high - low), 0.0, 1.0)
    if display.has_padding:
        least = (PADDING_LIMIT + 1.0) / (2**display.bits_stored - 1)
        shown = np.where(ndimage.binary_dilation(view.mask, iterations=2), np.clip(shown, least, None), 0.0)
    return Appearance(shown, _draw_windows(scanner, rng))


def _draw_windows(scanner: MammographyScanner, rng: np.random.Generator) -> tuple[Window, ...]:
    """Draws the device's window, which varies slightly, and for 'LUT' also windows of higher and lower contrast."""
    middle = DARK + SPAN * rng.uniform(0.45, 0.6)
    width = SPAN / scanner.display.contrast * rng.uniform(1.1, 1.4)
    kinds = ((0.0, 1.0, "NORMAL"), (0.03, 0.8, "HARDER"), (-0.03, 1.25, "SOFTER"))
    windows = [Window(middle + move * SPAN, width * scale, name) for move, scale, name in kinds]
    return tuple(windows if scanner.display.voi == "LUT" else windows[:1])


def take_film(
    view: Projection, attenuation: Field, scanner: MammographyScanner, rng: np.random.Generator
) -> Appearance:
    """Simulates a digitized film: dark near the skin, with base density, grain, dust, and sometimes a strip of tape."""
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
    """Returns the display range: low and high percentiles of the breast, at least `LEAST_RANGE` apart."""
    inside = level[mask] if mask.any() else level.ravel()
    low, high = np.percentile(inside, [rng.uniform(1.0, 4.0), rng.uniform(98.5, 99.7)])
    return float(low), float(max(high, low + LEAST_RANGE))


def _dust(shape: tuple[int, int], rng: np.random.Generator) -> Field:
    """Returns a few bright specks of dust, (H, W)."""
    specks = np.zeros(shape, dtype=np.float32)
    count = int(rng.integers(2, 10))
    specks[rng.integers(0, shape[0], count), rng.integers(0, shape[1], count)] = rng.uniform(0.2, 0.6, count)
    return specks


def _with_tape(film: Field, rng: np.random.Generator) -> Field:
    """Adds a bright strip along the upper or lower edge."""
    rows = film.shape[0]
    width = max(1, int(rng.uniform(0.01, 0.05) * rows))
    taped = film.copy()
    strip = slice(0, width) if rng.random() < 0.7 else slice(rows - width, rows)
    taped[strip] = 0.55 + 0.4 * taped[strip]
    return taped
