"""Joins the fragments of encapsulated pixel data with a single frame."""

from __future__ import annotations

import struct

from .image_pixel import ContradictionError

_ITEM = b"\xfe\xff\x00\xe0"
_DELIMITER = b"\xfe\xff\xdd\xe0"
_END_OF_STREAM = b"\xff\xd9"
"""End marker of JPEG, JPEG-LS and JPEG 2000."""
_TRAILER = 1024

_SIGNATURES = {
    "JPEG": (b"\xff\xd8\xff",),  # and JPEG-LS
    "JPEG 2000": (b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  "),
    "RLE": tuple(struct.pack("<2L", count, 64) for count in range(1, 16)),
}


def join_fragments(data: bytes) -> bytes:
    """Joins the fragments of pixel data that contain one frame (DICOM PS3.5 A.4).

    The first item is the Basic Offset Table, which is empty or has one offset per frame. It is not needed for a single
    frame, and it is only used as far as it agrees with the fragments: in some files it also contains the end of the
    frame, or every fragment, or it is missing.

    Args:
        data: value of Pixel Data, with or without the Sequence Delimitation Item at its end.

    Returns:
        The codestream of the frame, possibly with a padding byte.

    Raises:
        EOFError: the data end inside an item and inside the codestream.
        ContradictionError: the data are not items, or contain several frames.
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
    """Detects the compression of a stream from its first bytes: 'JPEG', 'JPEG 2000', 'RLE', or '' if unknown."""
    start = bytes(data[:8])
    return next((name for name, signatures in _SIGNATURES.items() if start.startswith(signatures)), "")


def is_encapsulated(data: bytes) -> bool:
    """Returns whether a value starts with an item followed by another item or the delimiter."""
    if data[:4] not in {_ITEM, _ITEM[1::-1] + _ITEM[:1:-1]}:
        return False
    order = "<" if data[:4] == _ITEM else ">"
    (length,) = struct.unpack_from(f"{order}L", data.ljust(8, b"\0"), 4)
    following = data[8 + length : 12 + length]
    return following[:2] == data[:2] or len(data) <= 8 + length


def _split(data: bytes) -> list[memoryview]:
    """Returns the values of the items, up to the delimiter, the end, or (after a fragment) anything else."""
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
    """Returns whether a too short last item may be complete, so that only its length is wrong.

    RLE data count as complete here, because the decoder detects truncated segments.
    """
    return _END_OF_STREAM in bytes(items[-1][-_TRAILER:]) or name_stream(items[1 % len(items)]) == "RLE"


def _count_frames(table: memoryview, fragments: list[memoryview]) -> int:
    """Counts the fragments that start a codestream or, for an unknown compression, the frames in the offset table."""
    kind = name_stream(fragments[0]) if fragments else ""
    if kind:
        return sum(name_stream(fragment) == kind for fragment in fragments)
    offsets = set(struct.unpack(f"<{len(table) // 4}L", table[: len(table) // 4 * 4]))
    starts, position = set(), 0
    for fragment in fragments:
        starts.add(position)
        position += 8 + len(fragment)
    return len(offsets & starts)
