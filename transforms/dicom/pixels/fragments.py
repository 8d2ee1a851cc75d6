"""Encapsulated pixel data: the fragments of the one frame, joined."""

from __future__ import annotations

import struct

_ITEM = b"\xfe\xff\x00\xe0"
_DELIMITER = b"\xfe\xff\xdd\xe0"


def join_fragments(data: bytes) -> bytes:
    """Joins the fragments of pixel data that hold one frame (DICOM PS3.5 A.4).

    The first item is the Basic Offset Table: an offset a frame, or empty.

    Args:
        data: the value of Pixel Data, with or without the Sequence Delimitation Item at its end.

    Returns:
        The frame's stream, with the padding byte that it may have.

    Raises:
        EOFError: the data end inside an item.
        ValueError: they are no items, or hold several frames.
    """
    items = _split(data)
    if not items:
        raise ValueError("no items")
    frames = len(items[0]) // 4
    if frames > 1:
        raise ValueError(f"{frames} frames")
    return bytes(items[1]) if len(items) == 2 else b"".join(items[1:])


def _split(data: bytes) -> list[memoryview]:
    """The items' values, up to the delimiter or the end."""
    view, position, items = memoryview(data), 0, []
    while position + 8 <= len(view):
        tag, (length,) = bytes(view[position : position + 4]), struct.unpack_from("<L", view, position + 4)
        if tag == _DELIMITER:
            break
        if tag != _ITEM:
            raise ValueError("something else than an item")
        if position + 8 + length > len(view):
            raise EOFError("the last item is cut short")
        items.append(view[position + 8 : position + 8 + length])
        position += 8 + length
    return items
