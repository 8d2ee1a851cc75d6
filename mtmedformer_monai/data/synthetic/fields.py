"""Smooth random fields on a pixel grid, the building blocks of the synthetic anatomy."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from mtmedformer_monai.data.array_types import Field


def edge(distance: Field, softness: float) -> Field:
    """Returns a sigmoid step of the signed distance: 1 far above 0, 0 far below."""
    return (1.0 / (1.0 + np.exp(-np.clip(distance / softness, -30, 30)))).astype(np.float32)


def bump(distance: Field, width: float) -> Field:
    """Returns a Gaussian ridge along the zero line of a signed distance."""
    return np.exp(-0.5 * (distance / width) ** 2).astype(np.float32)


def sharpen(values: Field, strength: float, scale: float) -> Field:
    """Adds `strength` times the detail finer than `scale` pixels (unsharp masking)."""
    return np.asarray(values + strength * (values - ndimage.gaussian_filter(values, scale)))


def smooth_noise(shape: tuple[int, int], scale: float, rng: np.random.Generator) -> Field:
    """Returns noise of mean 0 and standard deviation 1 with structures of `scale` pixels."""
    small = tuple(max(2, int(np.ceil(length / scale)) + 1) for length in shape)
    coarse = rng.standard_normal(small).astype(np.float32)
    factors = (shape[0] / small[0], shape[1] / small[1])
    noise = ndimage.zoom(coarse, factors, order=3, mode="nearest", grid_mode=True)[: shape[0], : shape[1]]
    return ((noise - noise.mean()) / (noise.std() + 1e-6)).astype(np.float32)


def power_noise(shape: tuple[int, int], exponent: float, rng: np.random.Generator) -> Field:
    """Returns noise of mean 0 and standard deviation 1 whose power spectrum is proportional to f^-exponent.

    Mammograms have exponents of about 3 (Burgess et al., Human observer detection experiments with mammograms and
    power-law noise, Medical Physics 28, 2001). The noise is periodic.
    """
    return _filtered(rng.standard_normal(shape, dtype=np.float32), _power_filter(shape, exponent))


def blob_noise(shape: tuple[int, int], scale: float, rng: np.random.Generator) -> Field:
    """Returns noise of mean 0 and standard deviation 1 with blobs of `scale` pixels; faster than `smooth_noise`."""
    return _filtered(rng.standard_normal(shape, dtype=np.float32), _blob_filter(shape, scale))


def _filtered(white: Field, spectrum: Field) -> Field:
    noise = fft.irfft2(fft.rfft2(white) * spectrum, s=white.shape)
    return np.asarray(noise / (noise.std() + 1e-12), dtype=np.float32)


@lru_cache(maxsize=32)
def _power_filter(shape: tuple[int, int], exponent: float) -> Field:
    frequency = np.sqrt(_squared_frequency(shape))
    frequency[0, 0] = np.inf
    return np.asarray(frequency ** (-exponent / 2.0), dtype=np.float32)


@lru_cache(maxsize=32)
def _blob_filter(shape: tuple[int, int], scale: float) -> Field:
    spectrum = np.exp(-_squared_frequency(shape) * (0.3 * np.pi * scale) ** 2)
    spectrum[0, 0] = 0.0
    return np.asarray(spectrum, dtype=np.float32)


def _squared_frequency(shape: tuple[int, int]) -> NDArray[np.float64]:
    """Returns the squared spatial frequency of each term of `rfft2`, in (cycles per pixel)^2."""
    return np.asarray(fft.fftfreq(shape[0])[:, None] ** 2 + fft.rfftfreq(shape[1])[None] ** 2)
