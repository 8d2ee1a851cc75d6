"""The whole DICOM grayscale pipeline (PS3.4 N.2), from stored values to [0, 1], as one lookup table.

Modality LUT, VOI LUT, polarity and padding depend only on the stored value. They are therefore computed once for every
code up to the largest one in the image (at most 65,536 codes), and the pixels are mapped by a single lookup. For a
full-size mammogram, this is one gather operation instead of ten float64 passes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .context_vr import read_stored_range
from .modality_lut import apply_modality_lut
from .padding import is_padding
from .polarity import is_inverse
from .voi_lut import apply_voi_lut

_ROWS_AT_ONCE = 16
"""Rows gathered at once; indices are converted to 64 bits, and this many rows fit in the cache (8 ms instead of 16)."""

Ends = tuple[float, float]
"""Ends of the range that is mapped to [0, 1] if the header has no VOI LUT."""


def to_unit_range(stored: NDArray[Any], header: Any, voi_index: int = 0) -> NDArray[np.float32]:
    """Maps stored values to [0, 1], where brighter is denser.

    If the header has a VOI LUT or window, its output range is mapped to [0, 1]. Otherwise the input range depends on
    Bits Stored. With up to 8 bits, it is the whole stored range, because such images are already rendered, and a PNG of
    the same image has the same values. With more bits, it is the range from the smallest to the largest value that is
    not padding, because 12-bit values under a header that declares 16 bits are common. Padding becomes 0.

    Args:
        stored: (H, W) integers as returned by `decode_pixels`.
        header: pydicom Dataset.
        voi_index: index of the VOI LUT or window.

    Returns:
        float32 (H, W) in [0, 1].

    Raises:
        IndexError: the header has fewer VOI LUTs or windows.
        ValueError: the header values produce values that are not finite.
    """
    if stored.dtype.itemsize > 2:  # 32-bit pixels have too many values for a table
        return _map_wide(stored, header, voi_index)
    codes = stored.view(f"u{stored.dtype.itemsize}")
    values = np.arange(int(codes.max()) + 1).astype(codes.dtype).view(stored.dtype).astype(np.int64)
    ends = None
    if not _has_voi(header):
        ends = _stored_ends(header) or _used_ends([values[_find_present(codes, len(values))]], header)
    return _gather(_map_values(values, header, voi_index, ends), codes)


def _map_wide(stored: NDArray[Any], header: Any, voi_index: int) -> NDArray[np.float32]:
    """Applies the pipeline to every pixel, a few rows at a time."""
    bands = [stored[row : row + _ROWS_AT_ONCE] for row in range(0, len(stored), _ROWS_AT_ONCE)]
    ends = None if _has_voi(header) else _stored_ends(header) or _used_ends(bands, header)
    return np.concatenate([_map_values(band.astype(np.int64), header, voi_index, ends) for band in bands])


def _map_values(values: NDArray[np.int64], header: Any, voi_index: int, ends: Ends | None) -> NDArray[np.float32]:
    """Applies the pipeline to values of any shape."""
    padding = is_padding(values, header)
    modality = apply_modality_lut(values, header)
    unit = apply_voi_lut(modality, header, voi_index)
    if unit is None:
        low, high = ends or (0.0, 1.0)
        unit = np.clip((modality - low) / (high - low if high > low else 1.0), 0.0, 1.0)
    if is_inverse(header):
        unit = 1.0 - unit
    if padding is not None:
        unit = np.where(padding, 0.0, unit)
    return unit.astype(np.float32)


def _has_voi(header: Any) -> bool:
    return apply_voi_lut(np.zeros(1), header) is not None


def _stored_ends(header: Any) -> Ends | None:
    """Returns the ends of the whole stored range if it has at most 8 bits, otherwise None."""
    if int(header.get("BitsStored", 16)) > 8:
        return None
    ends = apply_modality_lut(np.array(read_stored_range(header)), header)
    return float(ends.min()), float(ends.max())


def _used_ends(bands: list[NDArray[Any]], header: Any) -> Ends:
    """Returns the smallest and largest value that are not padding."""
    ends: list[float] = []
    for band in bands:
        values = band.astype(np.int64)
        padding = is_padding(values, header)
        used = apply_modality_lut(values if padding is None else values[~padding], header)
        if used.size:
            ends += [float(used.min()), float(used.max())]
    return (min(ends), max(ends)) if ends else (0.0, 1.0)


def _find_present(codes: NDArray[Any], count: int) -> NDArray[np.bool_]:
    """Returns which of `count` codes occur in the image."""
    present = np.zeros(count, dtype=bool)
    for row in range(0, codes.shape[0], _ROWS_AT_ONCE):
        present[codes[row : row + _ROWS_AT_ONCE].astype(np.intp)] = True
    return present


def _gather(table: NDArray[np.float32], codes: NDArray[Any]) -> NDArray[np.float32]:
    """Computes `table[codes]`, a few rows at a time."""
    out = np.empty(codes.shape, dtype=np.float32)
    for row in range(0, codes.shape[0], _ROWS_AT_ONCE):
        rows = slice(row, row + _ROWS_AT_ONCE)
        np.take(table, codes[rows], out=out[rows], mode="clip")
    return out
