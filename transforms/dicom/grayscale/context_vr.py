"""Values whose VR, US or SS, follows from other elements (DICOM PS3.5 A.1): read by their bits, not by their VR.

Implicit VR does not say which of the two it is, pydicom then guesses by Pixel Representation alone, and writers of
explicit VR choose the wrong one. So a value is taken as 16 bits, and its sign from the values that it is compared with.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Range = tuple[float, float]
"""Least and largest value."""


def read_words(value: Any, header: Any) -> list[int]:
    """The 16-bit words of an element, 0 to 65,535.

    Args:
        value: of an element: a number, several, or bytes (VR OW or UN).
        header: the pydicom Dataset around it, for its byte order.

    Returns:
        The words; none where the value is missing or empty.
    """
    if value is None or value == "":
        return []
    if isinstance(value, bytes):
        order = "<" if is_little_endian(header) else ">"
        return [int(word) for word in np.frombuffer(value[: len(value) // 2 * 2], f"{order}u2")]
    numbers = [value] if isinstance(value, (str, int, float)) else list(value)
    return [int(number) & 0xFFFF for number in numbers]


def is_little_endian(header: Any) -> bool:
    """False for the retired big endian transfer syntax only."""
    syntax = getattr(getattr(header, "file_meta", None), "TransferSyntaxUID", None)
    return syntax is None or bool(syntax.is_little_endian)


def read_stored_range(header: Any) -> Range:
    """The least and the largest value that Bits Stored and Pixel Representation admit (PS3.3 C.7.6.3)."""
    bits = int(header.get("BitsStored") or header.get("BitsAllocated") or 16)
    if header.get("PixelRepresentation", 0) == 1:
        return -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1
    return 0.0, 2.0**bits - 1


def choose_first(word: int, count: int, inputs: Range, declared: int) -> int:
    """The first value mapped of a lookup table: `word`, or `word` - 65,536.

    Its sign is that of the values that enter (PS3.3 C.11.1.1 and C.11.2.1.1: stored values, or what a rescale makes of
    them): the reading of it under which more of them meet an entry.

    Args:
        word: as 16 bits without sign.
        count: entries.
        inputs: range of the values that enter.
        declared: the value by its VR, for want of a difference.

    Example:
        >>> choose_first(63488, 4096, inputs=(-2048, 2047), declared=63488)
        -2048
    """
    if word < 0x8000:
        return word
    unsigned, signed = (_overlap(first, count, inputs) for first in (word, word - 0x10000))
    if unsigned == signed:
        return word - 0x10000 if declared < 0 else word
    return word if unsigned > signed else word - 0x10000


def _overlap(first: int, count: int, inputs: Range) -> float:
    return max(0.0, min(first + count - 1, inputs[1]) - max(first, inputs[0]) + 1)
