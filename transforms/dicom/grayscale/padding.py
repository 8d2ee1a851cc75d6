"""Pixel padding: stored values that stand for 'no image here'."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .context_vr import read_stored_range, read_words


def is_padding(stored: NDArray[Any], header: Any) -> NDArray[np.bool_] | None:
    """Tells padding from image (DICOM PS3.3 C.7.5.1.1.2).

    Padding is the Pixel Padding Value or, with a Pixel Padding Range Limit, every value between the two, ends
    included. It takes no part in contrast, and is shown as background.

    Args:
        stored: values as stored, before any LUT; any shape.
        header: pydicom Dataset.

    Returns:
        Same shape, True on padding; None if the header declares none.
    """
    first = _as_stored(header.get("PixelPaddingValue"), header)
    if first is None:
        return None
    last = _as_stored(header.get("PixelPaddingRangeLimit"), header)
    ends = (first, first if last is None else last)
    return (stored >= min(ends)) & (stored <= max(ends))


def _as_stored(value: Any, header: Any) -> int | None:
    """The padding value in the sign of the pixels, whatever its VR; None where it is missing.

    Its sign may be extended to 16 bits, or end with Bits Stored as that of the pixels.
    """
    words = read_words(value, header)
    if not words:
        return None
    low, high = read_stored_range(header)
    if high > 0xFFFF and not isinstance(value, bytes):  # more than 16 bits: a VR that tells
        return int(value)
    if low == 0.0 or words[0] <= high:
        return words[0]
    size = int(high - low) + 1
    return words[0] - (size if words[0] < size else 0x10000)
