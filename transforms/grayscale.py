"""Stored gray values to [0, 1]: the whole DICOM grayscale pipeline (PS3.4 N.2), as one table.

Modality LUT, VOI LUT, polarity and padding are functions of the stored value alone. So they are computed once for
every value that the stored type can hold (256 or 65,536), and one lookup maps the pixels: a full-size mammogram costs
one gather instead of ten float64 passes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .modality_lut import apply_modality_lut
from .padding import is_padding
from .presentation import is_inverse
from .voi_lut import apply_voi_lut

_ROWS_AT_ONCE = 16
"""Rows of a gather: indices are widened to 64 bits, and this many stay in the cache (8 ms in place of 16)."""


def to_unit_range(stored: NDArray[Any], header: Any, voi_index: int = 0) -> NDArray[np.float32]:
    """Maps stored values to [0, 1], brighter is denser.

    Range: a VOI LUT's or window's output range, where the header has one. Else, up to 8 bits stored, the whole stored
    range (such images were rendered already, and a PNG of the same picture gives the same values); with more bits, the
    least to the largest value that is not padding (12 bits in a header that says 16 are common). Padding becomes 0.

    Args:
        stored: (H, W) integers as decoded.
        header: pydicom Dataset.
        voi_index: which VOI alternative.

    Returns:
        float32 (H, W) in [0, 1].

    Raises:
        IndexError: the header holds fewer VOI alternatives.
    """
    if stored.dtype.itemsize > 2:  # 32-bit pixels have too many values for a table
        return _map_values(stored.astype(np.int64), np.ones(stored.shape, dtype=bool), header, voi_index)
    codes = stored.view(np.dtype(f"u{stored.dtype.itemsize}"))
    values = _stored_values(stored.dtype, header)
    return _gather(_map_values(values, _present(codes, header, len(values)), header, voi_index), codes)


def _map_values(
    values: NDArray[np.int64], present: NDArray[np.bool_], header: Any, voi_index: int
) -> NDArray[np.float32]:
    """The pipeline on values of any shape; `present` marks those whose range counts where no VOI LUT gives one."""
    padding = is_padding(values, header)
    modality = apply_modality_lut(values, header)
    unit = apply_voi_lut(modality, header, voi_index)
    if unit is None:
        low, high = _value_range(modality, present if padding is None else present & ~padding, header)
        unit = np.clip((modality - low) / (high - low if high > low else 1.0), 0.0, 1.0)
    if is_inverse(header):
        unit = 1.0 - unit
    if padding is not None:
        unit = np.where(padding, 0.0, unit)
    return unit.astype(np.float32)


def _value_range(modality: NDArray[Any], counts: NDArray[np.bool_], header: Any) -> tuple[float, float]:
    """Ends of the range that becomes [0, 1] where the header has no VOI LUT."""
    bits = int(header.get("BitsStored", 16))
    if bits <= 8:
        signed = header.get("PixelRepresentation", 0) == 1
        ends = np.array([-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] if signed else [0, 2**bits - 1])
        ends = apply_modality_lut(ends, header)
        return float(ends.min()), float(ends.max())
    used = modality[counts]
    return (float(used.min()), float(used.max())) if used.size else (0.0, 1.0)


def _stored_values(dtype: np.dtype[Any], header: Any) -> NDArray[np.int64]:
    """What each bit pattern of the stored type means, int64 (256,) or (65536,).

    The bits above Bits Stored are the sign's copy in signed pixels, and may hold an overlay in old unsigned ones
    (PS3.5 8.1.2). Else they are kept: headers that declare too few bits exist.
    """
    codes = np.arange(2 ** (8 * dtype.itemsize), dtype=np.int64)
    bits = min(int(header.get("BitsStored", 16)), 8 * dtype.itemsize)
    if header.get("PixelRepresentation", 0) == 1:
        low = codes & (2**bits - 1)
        signed: NDArray[np.int64] = np.where(low >= 2 ** (bits - 1), low - 2**bits, low)
        return signed
    return codes & (2**bits - 1) if _has_embedded_overlay(header) else codes


def _has_embedded_overlay(header: Any) -> bool:
    """True where an overlay lies in unused bits of the pixels (retired, PS3.3-2004 C.9.2)."""
    return any((group, 0x0010) in header and (group, 0x3000) not in header for group in range(0x6000, 0x6020, 2))


def _present(codes: NDArray[Any], header: Any, count: int) -> NDArray[np.bool_]:
    """Marks (count,) the bit patterns that occur. Looked for only where the range depends on it."""
    present = np.zeros(count, dtype=bool)
    has_voi = apply_voi_lut(np.zeros(1), header, 0) is not None
    if not has_voi and int(header.get("BitsStored", 16)) > 8:
        present[codes] = True
    return present


def _gather(table: NDArray[np.float32], codes: NDArray[Any]) -> NDArray[np.float32]:
    """`table[codes]`, a few rows at once."""
    out = np.empty(codes.shape, dtype=np.float32)
    for row in range(0, codes.shape[0], _ROWS_AT_ONCE):
        rows = slice(row, row + _ROWS_AT_ONCE)
        np.take(table, codes[rows], out=out[rows], mode="clip")
    return out
