"""Parses the allowed elements and the pixel data of one frame from a DICOM file, with bounded memory.

pydicom's `dcmread` loads everything in a file: gigabytes of a tomosynthesis that is refused for its many frames, or one
deflated megabyte that inflates to a gigabyte. Here, the elements before the pixel data are parsed first, from a prefix
of the file that is extended as needed. Then only the bytes of one frame, as declared by the header, are read.
"""

from __future__ import annotations

import os
import warnings
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import pydicom
from pydicom.filereader import read_partial

from mtmedformer_monai.transforms.errors import BrokenPixelDataError, RadiographError, UnreadableFileError
from mtmedformer_monai.transforms.limits import MAX_FILE_BYTES, MAX_PIXELS, MAX_SIDE

from .code_strings import read_code
from .header import ALLOWED_TAGS
from .header_numbers import convert_all

_PREFIXES = (2**16, 2**20, 2**24, 2**28)
_FIRST_PIXEL_TAG = 0x7FE00008
_PIXEL_TAGS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_UNDEFINED = 0xFFFFFFFF
_NATIVE = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"}
_DEFLATED, _EXPLICIT = b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.1\0\0\0"
_ALLOWED = [pydicom.tag.Tag(tag) for tag in ALLOWED_TAGS]
_DIRECTORY = "1.2.840.10008.1.3.10"
_IMAGE_TAGS = {pydicom.tag.Tag("Modality"), pydicom.tag.Tag("Rows")}


class _Source(Protocol):
    """The bytes of a file, decompressed if they are deflated."""

    def read(self, start: int, count: int) -> bytes:
        """Reads at most `count` bytes from offset `start`."""


@dataclass(frozen=True)
class _Plain:
    stream: BinaryIO
    size: int

    def read(self, start: int, count: int) -> bytes:
        self.stream.seek(start)
        return self.stream.read(max(0, min(count, self.size - start)))


@dataclass(frozen=True)
class _Inflated:
    """The decompressed bytes of a file in Deflated Explicit VR Little Endian (DICOM PS3.5 A.5)."""

    head: bytes
    deflated: bytes

    def read(self, start: int, count: int) -> bytes:
        wanted = start + count - len(self.head)
        inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(self.deflated, max(wanted, 1))
        return (self.head + inflated)[start : start + count]


@dataclass
class _PixelElement:
    """Location of the pixel data; the tag is 0 if there are none."""

    tag: int = 0
    vr: str = "OW"
    length: int = 0
    start: int = 0


def read_header(path: str | Path, with_pixels: bool = True, more_tags: Collection[str] = ()) -> Any:
    """Reads a file as a pydicom Dataset that contains only the allowed elements, `header.ALLOWED_TAGS`.

    Pixel Data contains one frame; it is empty if the header declares several frames or an implausible size. The
    functional groups of a single frame are copied to the top level of the data set.

    Args:
        path: the file.
        with_pixels: whether to read the pixel data.
        more_tags: keywords of additional elements to read.

    Raises:
        FileNotFoundError: the file does not exist.
        UnreadableFileError: pydicom cannot parse the file or one of its elements.
    """
    with Path(path).open("rb") as stream, warnings.catch_warnings():  # pydicom's warnings contain header values
        warnings.simplefilter("ignore")
        try:
            source = _open(stream)
            header, element = _parse(source, [*_ALLOWED, *map(pydicom.tag.Tag, more_tags)])
            _check_kind(path, header)
            convert_all(path, header)
            _check_syntax(path, header, element)
            if element.tag and with_pixels:
                header.add_new(element.tag, element.vr, _read_pixels(source, header, element))
                header[element.tag].is_undefined_length = element.length == _UNDEFINED
        except (RadiographError, OSError, MemoryError):
            raise
        except zlib.error as error:
            raise UnreadableFileError(
                path, "its transfer syntax is deflated, but its data set does not inflate", "correct its header"
            ) from error
        except Exception as error:  # a damaged file can fail anywhere in the parser
            raise UnreadableFileError(
                path, f"its DICOM header does not parse ({type(error).__name__})", "fetch it again from its archive"
            ) from error
    return header


def _check_kind(path: str | Path, header: Any) -> None:
    """Refuses files that are not images."""
    if _IMAGE_TAGS & set(header.keys()):
        return
    if read_code(header.file_meta, "MediaStorageSOPClassUID") == _DIRECTORY:
        raise UnreadableFileError(
            path, "it is a DICOMDIR, the index of a medium", "name the images that it lists, or their folder"
        )
    raise UnreadableFileError(
        path, "its DICOM header is cut short or missing", "fetch it again from its archive, or exclude it"
    )


def _check_syntax(path: str | Path, header: Any, element: _PixelElement) -> None:
    """Refuses compressed pixel data (of undefined length, PS3.5 A.4) with an uncompressed transfer syntax."""
    if element.length == _UNDEFINED and str(header.file_meta.TransferSyntaxUID) in _NATIVE:
        raise BrokenPixelDataError(
            path,
            "its pixel data are compressed, but its Transfer Syntax UID is missing or names an uncompressed one",
            "export it with its file meta information",
        )


def _open(stream: BinaryIO) -> _Source:
    """Opens a file; in a deflated one, the transfer syntax is replaced by that of the decompressed data set."""
    plain = _Plain(stream, os.fstat(stream.fileno()).st_size)
    head = plain.read(0, 2**12)
    if _DEFLATED not in head:
        return plain
    meta = BytesIO(head)
    meta.seek(132 if head[128:132] == b"DICM" else 0)
    elements = pydicom.filereader.read_dataset(meta, False, True, stop_when=lambda tag, *_: tag >> 16 != 2)
    if str(elements.get("TransferSyntaxUID")).encode() != _DEFLATED:
        return plain
    start = meta.tell()
    return _Inflated(head[:start].replace(_DEFLATED, _EXPLICIT), plain.read(start, MAX_FILE_BYTES))


def _parse(source: _Source, tags: list[Any]) -> tuple[Any, _PixelElement]:
    """Parses the elements before the pixel data, and locates the pixel data."""
    for count in _PREFIXES:
        head = source.read(0, count)
        try:
            header, element = _parse_prefix(head, tags)
        except Exception as error:  # includes OSError, for a truncated element
            if len(head) < count:
                raise ValueError("no elements") from error
            continue
        if element.tag or len(head) < count:
            break
    else:
        raise ValueError("no pixel data within the longest header")
    syntax = read_code(header.file_meta, "TransferSyntaxUID")
    if not syntax or syntax != header.file_meta.TransferSyntaxUID:
        header.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax) if syntax else _guess_transfer_syntax(header)
    return header, element if element.tag in _PIXEL_TAGS else _PixelElement()


def _parse_prefix(head: bytes, tags: list[Any]) -> tuple[Any, _PixelElement]:
    stream, element = BytesIO(head), _PixelElement()

    def at_pixels(tag: int, vr: str | None, length: int) -> bool:
        if tag < _FIRST_PIXEL_TAG:
            return False
        element.tag, element.vr, element.length, element.start = int(tag), vr or "OW", length, stream.tell()
        return True

    return read_partial(stream, at_pixels, force=True, specific_tags=tags), element


def _guess_transfer_syntax(header: Any) -> Any:
    """Guesses the transfer syntax of a file without a meta group, which is uncompressed by default (PS3.5 10.1)."""
    if header.is_implicit_VR:
        return pydicom.uid.ImplicitVRLittleEndian
    return pydicom.uid.ExplicitVRLittleEndian if header.is_little_endian else pydicom.uid.ExplicitVRBigEndian


def _read_pixels(source: _Source, header: Any, element: _PixelElement) -> bytes:
    """Reads the value of the pixel data: one uncompressed frame, or the whole compressed data."""
    try:
        frames = int(header.get("NumberOfFrames") or 1)
        pixels = int(header.get("Rows") or 0) * int(header.get("Columns") or 0)
        frame = pixels * int(header.get("SamplesPerPixel") or 1) * int(header.get("BitsAllocated") or 16) // 8
    except TypeError:
        return b""
    if frames > 1 or not 0 < pixels <= MAX_PIXELS or max(int(header.Rows), int(header.Columns)) > MAX_SIDE:
        return b""
    if str(header.file_meta.TransferSyntaxUID) in _NATIVE:
        return source.read(element.start, min(element.length, 2 * frame + 2))
    return source.read(element.start, min(element.length, MAX_FILE_BYTES))
