"""Color radiographs (scanned films, annotated captures) to luminance."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""Weights of red, green and blue (ITU-R BT.601), those of DICOM's Y (PS3.3 C.7.6.3.1.2)."""

_ROWS_AT_ONCE = 64
"""Of a product: three float32 a pixel would take twelve bytes for a whole picture."""


def to_luminance(pixels: NDArray[Any], photometric: str, header: Any) -> NDArray[np.float32]:
    """Maps a decoded color image to its luminance.

    Args:
        pixels: (H, W, 3) samples of RGB or YBR, or (H, W) indices of PALETTE COLOR.
        photometric: Photometric Interpretation of `pixels` (DICOM PS3.3 C.7.6.3.1.2).
        header: pydicom Dataset, for Bits Stored and the palette.

    Returns:
        float32 (H, W) in [0, 1].

    Raises:
        NotImplementedError: another color space.
        ValueError: a palette that contradicts itself.
    """
    if photometric == "PALETTE COLOR":
        return _apply_palette(pixels, header)
    full = 2.0 ** int(header.BitsStored) - 1.0
    if photometric in {"RGB", "YBR_RCT", "YBR_ICT"}:  # decoders undo the transforms of JPEG 2000 themselves
        return weigh_colors(pixels, full)
    if photometric in {"YBR_FULL", "YBR_FULL_422"}:  # Y is the luminance
        luminance = pixels[..., 0].astype(np.float32)
        luminance *= np.float32(1.0 / full)
        return np.clip(luminance, 0.0, 1.0, out=luminance)
    raise NotImplementedError(photometric)


def weigh_colors(colors: NDArray[Any], full: float) -> NDArray[np.float32]:
    """Luminance of colors.

    Args:
        colors: (H, W, 3 or 4) red, green, blue, and what more there is.
        full: the largest value.

    Returns:
        float32 (H, W) in [0, 1].
    """
    weights = LUMA / np.float32(full)
    out = np.empty(colors.shape[:2], dtype=np.float32)
    for row in range(0, len(colors), _ROWS_AT_ONCE):
        rows = slice(row, row + _ROWS_AT_ONCE)
        np.matmul(colors[rows, :, :3].astype(np.float32), weights, out=out[rows])
    return np.clip(out, 0.0, 1.0, out=out)


def _apply_palette(indices: NDArray[Any], header: Any) -> NDArray[np.float32]:
    """Luminance of palette indices (PS3.3 C.7.9), by a table of what each index gives."""
    try:
        from pydicom.pixels import apply_color_lut
    except ImportError:  # pydicom 2
        from pydicom.pixel_data_handlers import apply_color_lut
    highest = int(indices.max())
    if int(indices.min()) < 0 or highest > 0xFFFF:
        raise ValueError("indices of no palette")
    colors = np.asarray(apply_color_lut(np.arange(highest + 1)[None], header))
    return weigh_colors(colors, float(np.iinfo(colors.dtype).max))[0][indices]
