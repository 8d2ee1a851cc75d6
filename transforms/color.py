"""Conversion of color radiographs (scanned films, annotated captures) to luminance."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtmedformer_monai.transforms.dicom.grayscale.context_vr import is_little_endian, read_words
from mtmedformer_monai.transforms.dicom.grayscale.lookup_table import Lookup

LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""Weights of red, green and blue (ITU-R BT.601), the same as for Y in DICOM (PS3.3 C.7.6.3.1.2)."""

_ROWS_AT_ONCE = 64
"""Rows converted at once; three float32 channels of a whole image would take 12 bytes per pixel."""


def to_luminance(pixels: NDArray[Any], photometric: str, header: Any) -> NDArray[np.float32]:
    """Converts a decoded color image to luminance.

    Args:
        pixels: (H, W, 3) RGB or YBR samples, or (H, W) indices of PALETTE COLOR.
        photometric: Photometric Interpretation of `pixels` (DICOM PS3.3 C.7.6.3.1.2).
        header: pydicom Dataset, for Bits Stored and the palette.

    Returns:
        float32 (H, W) in [0, 1].

    Raises:
        NotImplementedError: the color space is not supported.
        ValueError: the palette is inconsistent.
    """
    if photometric == "PALETTE COLOR":
        return _apply_palette(pixels, header)
    full = 2.0 ** int(header.BitsStored) - 1.0
    if photometric in {"RGB", "YBR_RCT", "YBR_ICT"}:  # decoders undo the color transforms of JPEG 2000
        return weigh_colors(pixels, full)
    if photometric in {"YBR_FULL", "YBR_FULL_422"}:  # Y is the luminance
        luminance = pixels[..., 0].astype(np.float32)
        luminance *= np.float32(1.0 / full)
        return np.clip(luminance, 0.0, 1.0, out=luminance)
    raise NotImplementedError(photometric)


def weigh_colors(colors: NDArray[Any], full: float) -> NDArray[np.float32]:
    """Computes the luminance of colors.

    Args:
        colors: (H, W, 3 or 4) red, green and blue; further channels are ignored.
        full: value of full intensity.

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
    """Converts palette indices to luminance (PS3.3 C.7.6.3.1.5 and C.7.9), using a table with one entry per index.

    White is the largest value of the bits that the entries actually use, because some files declare 16 bits and use 8
    or 12.
    """
    low, high = int(indices.min()), int(indices.max())
    if high - low > 0xFFFF:
        raise ValueError("palette indices span more than 65,536 values")
    lookups = [_read_palette(color, header) for color in ("Red", "Green", "Blue")]
    colors = np.stack([lookup(np.arange(low, high + 1)) for lookup in lookups], axis=-1)
    full = 2.0 ** max(lookup.bits for lookup in lookups) - 1.0
    luminance = weigh_colors(colors[None], full)[0]
    return luminance[indices if low == 0 else indices.astype(np.int64) - low]


def _read_palette(color: str, header: Any) -> Lookup:
    """Reads the lookup table of one color; segmented tables (PS3.3 C.7.9.2) are expanded by pydicom."""
    descriptor = header.get(f"{color}PaletteColorLookupTableDescriptor")
    data = header.get(f"{color}PaletteColorLookupTableData")
    if data is None:
        segments = header[f"Segmented{color}PaletteColorLookupTableData"].value
        data = _expand_segments(segments, read_words(descriptor, header)[2], is_little_endian(header))
    lookup = Lookup.from_values(descriptor, data, header)
    if lookup is None:
        raise ValueError("inconsistent palette")
    return lookup


def _expand_segments(data: bytes, bits: int, little_endian: bool) -> list[int]:
    """Expands the segments of a segmented palette, stored as bytes or words, to its entries."""
    try:
        from pydicom.pixels.processing import _expand_segmented_lut
    except ImportError:  # pydicom 2
        from pydicom.pixel_data_handlers.util import _expand_segmented_lut
    code = "B" if bits == 8 else "H"
    struct_format = f"{'<' if little_endian else '>'}{len(data) // (1 if bits == 8 else 2)}{code}"
    return list(_expand_segmented_lut(struct.unpack_from(struct_format, data), struct_format))
