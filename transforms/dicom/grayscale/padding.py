"""Pixel padding: stored values that mark pixels outside the image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .context_vr import read_stored_range, read_words


def is_padding(stored: NDArray[Any], header: Any) -> NDArray[np.bool_] | None:
    """Returns which pixels are padding (DICOM PS3.3 C.7.5.1.1.2).

    Padding pixels have the Pixel Padding Value or, with a Pixel Padding Range Limit, any value between the two,
    inclusive. They are excluded from contrast computations and displayed as background.

    Args:
        stored: stored values, before any LUT; any shape.
        header: pydicom Dataset.

    Returns:
        Bool array of the same shape, or None if the header declares no padding.
    """
    first = _as_stored(header.get("PixelPaddingValue"), header)
    if first is None:
        return None
    last = _as_stored(header.get("PixelPaddingRangeLimit"), header)
    ends = (first, first if last is None else last)
    return (stored >= min(ends)) & (stored <= max(ends))


def _as_stored(value: Any, header: Any) -> int | None:
    """Interprets a padding value with the signedness of the pixels, regardless of its VR; None if it is missing.

    A negative value may be sign-extended to 16 bits, or have as many bits as Bits Stored, like the pixels.
    """
    words = read_words(value, header)
    if not words:
        return None
    low, high = read_stored_range(header)
    if high > 0xFFFF and not isinstance(value, bytes):  # more than 16 bits: the VR is unambiguous
        return int(value)
    if low == 0.0 or words[0] <= high:
        return words[0]
    size = int(high - low) + 1
    return words[0] - (size if words[0] < size else 0x10000)
