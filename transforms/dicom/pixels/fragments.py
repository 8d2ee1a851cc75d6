"""Encapsulated pixel data: the fragments of the one frame, joined."""

from __future__ import annotations

import struct

from .image_pixel import ContradictionError

_ITEM = b"\xfe\xff\x00\xe0"
_DELIMITER = b"\xfe\xff\xdd\xe0"
_END_OF_STREAM = b"\xff\xd9"
"""Of JPEG, JPEG-LS and JPEG 2000 alike."""
_TRAILER = 1024

_SIGNATURES = {
    "JPEG": (b"\xff\xd8\xff",),  # JPEG-LS too
    "JPEG 2000": (b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  "),
    "RLE": tuple(struct.pack("<2L", count, 64) for count in range(1, 16)),
}


def join_fragments(data: bytes) -> bytes:
    """Joins the fragments of pixel data that hold one frame (DICOM PS3.5 A.4).

    The first item is the Basic Offset Table: one offset per frame, or empty. With one frame it is of no use, and so it
    is heeded no further than the fragments bear it out: writers put the end into it as well, or every fragment, or
    exclude it.

    Args:
        data: the value of Pixel Data, with or without the Sequence Delimitation Item at its end.

    Returns:
        The frame's stream, with the padding byte that it may have.

    Raises:
        EOFError: the data end inside an item, and inside the stream.
        ContradictionError: they are no items, or hold several frames.
    """
    items = _split(data)
    if not items:
        raise ContradictionError("no items")
    table, fragments = items[0], items[1:]
    if name_stream(table):
        table, fragments = memoryview(b""), items
    frames = _count_frames(table, fragments)
    if frames > 1:
        raise ContradictionError(f"{frames} frames, but one is expected")
    return bytes(fragments[0]) if len(fragments) == 1 else b"".join(fragments)


def name_stream(data: bytes | memoryview) -> str:
    """The compression of a stream by its first bytes: 'JPEG', 'JPEG 2000', 'RLE', or '' for another or none."""
    start = bytes(data[:8])
    return next((name for name, signatures in _SIGNATURES.items() if start.startswith(signatures)), "")


def is_encapsulated(data: bytes) -> bool:
    """Whether a value begins with an item that another item or the delimiter follows: no picture does by chance."""
    if data[:4] not in {_ITEM, _ITEM[1::-1] + _ITEM[:1:-1]}:
        return False
    order = "<" if data[:4] == _ITEM else ">"
    (length,) = struct.unpack_from(f"{order}L", data.ljust(8, b"\0"), 4)
    following = data[8 + length : 12 + length]
    return following[:2] == data[:2] or len(data) <= 8 + length


def _split(data: bytes) -> list[memoryview]:
    """The items' values, up to the delimiter or the end; behind a fragment anything else ends them too."""
    view, position = memoryview(data), 0
    items: list[memoryview] = []
    while position + 8 <= len(view):
        tag, (length,) = bytes(view[position : position + 4]), struct.unpack_from("<L", view, position + 4)
        if tag != _ITEM:
            if tag != _DELIMITER and len(items) < 2 and not (items and name_stream(items[0])):
                raise ContradictionError("something other than an item")
            break
        item = view[position + 8 : position + 8 + length]
        items.append(item)
        if len(item) < length and not _may_be_whole(items):
            raise EOFError("the last item is cut short")
        position += 8 + length
    return items


def _may_be_whole(items: list[memoryview]) -> bool:
    """Whether the last item's length, not its value, may be what is wrong; the segments of RLE tell themselves."""
    return _END_OF_STREAM in bytes(items[-1][-_TRAILER:]) or name_stream(items[1 % len(items)]) == "RLE"


def _count_frames(table: memoryview, fragments: list[memoryview]) -> int:
    """Fragments that begin a stream; of streams that are not known, those that the offset table names."""
    kind = name_stream(fragments[0]) if fragments else ""
    if kind:
        return sum(name_stream(fragment) == kind for fragment in fragments)
    offsets = set(struct.unpack(f"<{len(table) // 4}L", table[: len(table) // 4 * 4]))
    starts, position = set(), 0
    for fragment in fragments:
        starts.add(position)
        position += 8 + len(fragment)
    return len(offsets & starts)
