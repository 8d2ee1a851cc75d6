"""Pixel padding: stored values that stand for 'no image here'."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


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
    value, limit = header.get("PixelPaddingValue"), header.get("PixelPaddingRangeLimit")
    if value is None or value == "":
        return None
    first = _as_stored(value, header)
    last = first if limit is None or limit == "" else _as_stored(limit, header)
    return (stored >= min(first, last)) & (stored <= max(first, last))


def _as_stored(value: Any, header: Any) -> int:
    """The padding value in the sign of the pixels: its VR may have been guessed as US where the pixels are signed."""
    number = int(value[0] if isinstance(value, (list, tuple)) else value)
    if header.get("PixelRepresentation", 0) == 1:
        return number - 0x10000 if number >= 0x8000 else number
    return number & 0xFFFF
