"""Reads values whose VR, US or SS, depends on other elements (DICOM PS3.5 A.1) by their bits instead of their VR.

Implicit VR does not distinguish the two, so that pydicom guesses from Pixel Representation alone, and some files with
explicit VR use the wrong one. Values are therefore read as 16-bit words, and their sign is inferred from the range of
the values to which they apply.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Range = tuple[float, float]
"""Smallest and largest value."""


def read_words(value: Any, header: Any) -> list[int]:
    """Returns the 16-bit words of an element, 0 to 65,535.

    Args:
        value: value of an element: one or several numbers, or bytes (VR OW or UN).
        header: the pydicom Dataset that contains the element, for its byte order.

    Returns:
        The words; an empty list if the value is missing or empty.
    """
    if value is None or value == "":
        return []
    if isinstance(value, bytes):
        order = "<" if is_little_endian(header) else ">"
        return [int(word) for word in np.frombuffer(value[: len(value) // 2 * 2], f"{order}u2")]
    numbers = [value] if isinstance(value, (str, int, float)) else list(value)
    return [int(number) & 0xFFFF for number in numbers]


def is_little_endian(header: Any) -> bool:
    """Returns whether the byte order is little-endian; False only for the retired big-endian transfer syntax."""
    syntax = getattr(getattr(header, "file_meta", None), "TransferSyntaxUID", None)
    return syntax is None or bool(syntax.is_little_endian)


def read_stored_range(header: Any) -> Range:
    """Returns the range of values allowed by Bits Stored and Pixel Representation (PS3.3 C.7.6.3)."""
    bits = int(header.get("BitsStored") or header.get("BitsAllocated") or 16)
    if header.get("PixelRepresentation", 0) == 1:
        return -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1
    return 0.0, 2.0**bits - 1


def choose_first(word: int, count: int, inputs: Range, declared: int) -> int:
    """Returns the first input value of a lookup table: either `word` or `word` - 65,536.

    The value has the same sign as the input values of the table, which are stored values or rescaled values (PS3.3
    C.11.1.1 and C.11.2.1.1). The interpretation for which more input values have an entry is chosen.

    Args:
        word: the value as an unsigned 16-bit word.
        count: number of entries.
        inputs: range of the input values.
        declared: the value according to its VR, used if both interpretations fit equally well.

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
