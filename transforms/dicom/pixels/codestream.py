"""Reads the header of a codestream before it is decoded, because decoders allocate memory according to that header."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import Literal

from mtmedformer_monai.transforms.limits import MAX_SCANS

Color = Literal["RGB", "YBR", ""]

_FRAME_MARKERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
"""Start-of-frame markers of all JPEG processes and JPEG-LS."""
_ALONE = {0x01, *range(0xD0, 0xD9)}
"""Markers without a segment."""
_SCAN, _END, _PRESET = 0xDA, 0xD9, 0xF8
_OVERSIZE = 4
_JPEG2000_START = b"\xff\x4f\xff\x51"
_MAX_BOXES = 2**16
_PIXELS_A_TILE, _PIXELS_A_PRECINCT = 2**12, 2**8
"""Minimum average number of pixels; OpenJPEG allocates 6 kB per tile and 0.3 kB per precinct."""


@dataclass(frozen=True)
class CodestreamHeader:
    """The size, bit depth and color space declared by a codestream.

    Attributes:
        rows: number of rows.
        columns: number of columns.
        samples: number of components.
        bits: precision of a sample.
        is_signed: whether samples are signed; only JPEG 2000 declares this.
        color: 'RGB' or 'YBR' if the codestream declares it (JFIF and Adobe markers, component names), otherwise ''.
    """

    rows: int
    columns: int
    samples: int
    bits: int
    is_signed: bool = False
    color: Color = ""


def read_jpeg_header(stream: bytes) -> CodestreamHeader:
    """Reads the start-of-frame segment of JPEG or JPEG-LS (ISO/IEC 10918-1 B.2.2, 14495-1 C.2.2).

    Raises:
        ValueError: the data are not such a codestream, have more than `MAX_SCANS` scans, or define the size elsewhere.
    """
    if stream[:2] != b"\xff\xd8":
        raise ValueError("no JPEG stream")
    if stream.count(b"\xff\xda") > MAX_SCANS:
        raise ValueError("too many scans")
    position, header = 2, None
    color: Color = ""
    while header is None or not color:
        marker, start, end = _next_segment(stream, position)
        if marker in {_SCAN, _END}:
            break
        segment, position = stream[start:end], end
        if marker in _FRAME_MARKERS:
            header = _read_frame(segment)
        elif marker == _PRESET and segment[:1] == bytes([_OVERSIZE]):
            raise ValueError("its size is defined in a preset segment")
        color = color or _color_of_marker(marker, segment)
    if header is None:
        raise ValueError("no start of frame")
    return header if header.color or not color else replace(header, color=color)


def _next_segment(stream: bytes, position: int) -> tuple[int, int, int]:
    """Returns the marker, start and end of the next segment with a length."""
    while True:
        while stream[position : position + 2] == b"\xff\xff":  # fill bytes
            position += 1
        if len(stream) < position + 4 or stream[position] != 0xFF:
            raise ValueError("no marker where one is expected")
        marker = stream[position + 1]
        if marker not in _ALONE:
            break
        position += 2
    (length,) = struct.unpack_from(">H", stream, position + 2)
    return marker, position + 4, position + 2 + max(length, 2)


def _read_frame(segment: bytes) -> CodestreamHeader:
    if len(segment) < 6:
        raise ValueError("a start of frame cut short")
    bits, rows, columns, samples = struct.unpack_from(">BHHB", segment)
    names = segment[6 : 6 + 3 * samples : 3]
    return CodestreamHeader(rows, columns, samples, bits, color="RGB" if names in {b"RGB", b"rgb"} else "")


def _color_of_marker(marker: int, segment: bytes) -> Color:
    """Returns the color space given by a marker: YBR for JFIF; Adobe's marker gives the transform (0 is none)."""
    if marker == 0xE0 and segment.startswith(b"JFIF"):
        return "YBR"
    if marker == 0xEE and segment.startswith(b"Adobe") and len(segment) >= 12:
        return "YBR" if segment[11] else "RGB"
    return ""


def read_jpeg2000_header(stream: bytes) -> CodestreamHeader:
    """Reads the main header of JPEG 2000 or HTJ2K (ISO/IEC 15444-1 A.5.1), as a raw codestream or inside JP2 boxes.

    Raises:
        ValueError: the data are not such a codestream, the components differ in size, or there are too many tiles or
            precincts for the image size (decoders allocate memory for each of them).
    """
    start = stream.find(_JPEG2000_START, 0, _MAX_BOXES)
    if start < 0 or len(stream) < start + 45:
        raise ValueError("no JPEG 2000 stream")
    x1, y1, x0, y0, tile_x, tile_y, _, _, samples = struct.unpack_from(">8LH", stream, start + 8)
    rows, columns = y1 - y0, x1 - x0
    if min(rows, columns, tile_x, tile_y, samples) < 1:
        raise ValueError("empty size")
    first = stream[start + 42 : start + 45]
    if first[1:] != b"\1\1" or stream[start + 42 : start + 42 + 3 * samples] != first * samples:
        raise ValueError("components of different depth or size")
    if -(-x1 // tile_x) * -(-y1 // tile_y) > 64 + rows * columns // _PIXELS_A_TILE:
        raise ValueError("too many tiles")
    if _count_precincts(stream, start, rows, columns) > 1024 + rows * columns // _PIXELS_A_PRECINCT:
        raise ValueError("too many precincts")
    return CodestreamHeader(rows, columns, samples, (first[0] & 0x7F) + 1, is_signed=first[0] >= 0x80)


def _count_precincts(stream: bytes, start: int, rows: int, columns: int) -> int:
    """Counts the precincts of a component over all resolutions, by the COD marker (A.6.1); 0 if none are declared."""
    cod = stream.find(b"\xff\x52", start, start + _MAX_BOXES)
    if cod < 0 or len(stream) < cod + 14 or not stream[cod + 4] & 1:
        return 0
    levels, count = stream[cod + 9], 0
    for resolution, exponents in enumerate(stream[cod + 14 : cod + 15 + levels]):
        shift = max(levels - resolution, 0)
        across, down = shift + (exponents & 15), shift + (exponents >> 4)
        count += -(-columns >> across) * -(-rows >> down)
    return count
