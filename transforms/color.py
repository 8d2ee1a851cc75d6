"""Color radiographs (scanned films, annotated captures) to luminance."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""Weights of red, green and blue (ITU-R BT.601), those of DICOM's Y (PS3.3 C.7.6.3.1.2)."""


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
    """
    if photometric == "PALETTE COLOR":
        colors = _apply_color_lut(pixels, header)
        return _weigh(colors, float(np.iinfo(colors.dtype).max))
    full = 2.0 ** int(header.BitsStored) - 1.0
    if photometric in {"RGB", "YBR_RCT", "YBR_ICT"}:  # decoders undo the transforms of JPEG 2000 themselves
        return _weigh(pixels, full)
    if photometric in {"YBR_FULL", "YBR_FULL_422"}:  # Y is the luminance
        return pixels[..., 0].astype(np.float32) / np.float32(full)
    raise NotImplementedError(photometric)


def _weigh(colors: NDArray[Any], full: float) -> NDArray[np.float32]:
    """Luminance of (H, W, 3 or 4) colors whose largest value is `full`."""
    return np.clip(colors[..., :3].astype(np.float32) @ (LUMA / np.float32(full)), 0.0, 1.0)


def _apply_color_lut(indices: NDArray[Any], header: Any) -> NDArray[Any]:
    """RGB of palette indices (PS3.3 C.7.9); the function moved in pydicom 3."""
    try:
        from pydicom.pixels import apply_color_lut
    except ImportError:
        from pydicom.pixel_data_handlers import apply_color_lut
    return np.asarray(apply_color_lut(indices, header))
