"""Detects the type of a file from its first bytes, and names the type of files that are not supported."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Literal

from .errors import UnreadableFileError

Kind = Literal["dicom", "picture", "nifti"]

_HEAD = 4096
_TEXT_REMEDY = "fetch the image itself, or exclude it"
_CONVERT = "convert it to one of these without loss of depth (16-bit PNG), or exclude it"
_OTHERS: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"\x1f\x8b", "a gzipped file", "gunzip it"),
    (0, b"PK\x03\x04", "a ZIP archive", "unzip it"),
    (0, b"BZh", "a bzip2 file", "bunzip2 it"),
    (0, b"\xfd7zXZ\x00", "an xz file", "unxz it"),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard file", "unzstd it"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "unpack it"),
    (0, b"Rar!", "a RAR archive", "unpack it"),
    (257, b"ustar", "a tar archive", "unpack it"),
    (0, b"II*\x00", "a TIFF picture", _CONVERT),
    (0, b"MM\x00*", "a TIFF picture", _CONVERT),
    (0, b"II+\x00", "a BigTIFF picture", _CONVERT),
    (0, b"MM\x00+", "a BigTIFF picture", _CONVERT),
    (0, b"BM", "a BMP picture", _CONVERT),
    (0, b"GIF8", "a GIF picture", _CONVERT),
    (8, b"WEBP", "a WebP picture", _CONVERT),
    (4, b"jP  ", "a JPEG 2000 picture", _CONVERT),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 stream", _CONVERT),
    (0, b"\x93NUMPY", "a NumPy array", _CONVERT),
    (0, b"NRRD", "an NRRD file", _CONVERT),
    (0, b"ObjectType", "a MetaImage file", _CONVERT),
    (0, b"%PDF", "a PDF document", "export the image in it"),
    (0, b"\x89HDF", "an HDF5 file", _CONVERT),
    *((0, b"P%d" % number, "a PNM picture", _CONVERT) for number in range(1, 8)),
    (0, b"version https://git-lfs", "a Git LFS pointer", "run git lfs pull"),
    (0, b"/annex/objects", "a git-annex pointer", "run git annex get"),
)


def sniff(path: str | Path) -> Kind:
    """Detects the type of a supported file from its content.

    Raises:
        FileNotFoundError: the file does not exist.
        UnreadableFileError: the type is not supported; the message names it if it is known.
    """
    with Path(path).open("rb") as stream:
        head = stream.read(_HEAD)
        size = stream.seek(0, 2)
    if is_gzip(head):
        head = _inflate(path, head)
        if is_nifti(head):
            return "nifti"
        name = "gzipped DICOM" if head[128:132] == b"DICM" or is_data_set(head, 2**62) else "a gzipped file"
        raise UnreadableFileError(path, f"it is neither DICOM, PNG, JPEG nor NIfTI, but {name}", "gunzip it")
    if head[128:132] == b"DICM":
        return "dicom"
    if head.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")):
        return "picture"
    if is_nifti(head):
        return "nifti"
    if is_data_set(head, size):
        return "dicom"
    if not head:
        raise UnreadableFileError(path, "it is empty", "fetch it again, or exclude it")
    name, remedy = describe_other(head)
    but = f", but {name}" if name else ""
    raise UnreadableFileError(path, f"it is neither DICOM, PNG, JPEG nor NIfTI{but}", remedy)


def is_gzip(head: bytes) -> bool:
    """Returns whether the first bytes are those of a gzip file."""
    return head[:2] == b"\x1f\x8b"


def is_nifti(head: bytes) -> bool:
    """Returns whether the first bytes are those of NIfTI-1 or NIfTI-2, as a single file or the header of a pair."""
    return head[344:348] in {b"n+1\0", b"ni1\0"} or head[4:8] in {b"n+2\0", b"ni2\0"}


def describe_other(head: bytes) -> tuple[str, str]:
    """Names the type of an unsupported file, or '' if it is unknown, and the remedy.

    Args:
        head: the first bytes of the file.
    """
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for offset, magic, name, remedy in _OTHERS:
        if head.startswith(magic, offset) or (offset == 0 and len(magic) > 3 and text.startswith(magic)):
            return name, remedy
    if text.startswith(b"<"):
        return "HTML or XML text, such as the page of a failed download", _TEXT_REMEDY
    if not head.strip(b"\0"):
        return "only zeros, as an interrupted copy leaves them", "fetch it again, or exclude it"
    if _is_text(head):
        return "text", _TEXT_REMEDY
    return "", "convert it to one of these, or exclude it"


def _is_text(head: bytes) -> bool:
    """Returns whether bytes are UTF-8 text; the last character may be truncated."""
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:
            return False
        text = head[: error.start].decode("utf-8")
    return all(character.isprintable() or character.isspace() for character in text)


def _inflate(path: str | Path, head: bytes) -> bytes:
    """Returns the first decompressed bytes of a gzip file."""
    try:
        return zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(head, _HEAD)
    except zlib.error as error:
        raise UnreadableFileError(path, "its gzip stream is damaged", "fetch it again") from error


_VALUE_REPRESENTATIONS = frozenset(
    b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV".split()
)
_LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_FIRST_GROUPS = range(0x0002, 0x0029, 2)
_ENOUGH = 4
_UNDEFINED = 0xFFFFFFFF


def is_data_set(head: bytes, size: int) -> bool:
    """Returns whether a file without preamble starts with DICOM elements (PS3.5 7.1), in any of the three encodings.

    Tags must be in ascending order, the lengths must stay within the file, and the first element must be one that the
    standard defines: of the file meta group (0002), which pydicom's `save_as` writes even without a preamble, or of the
    first groups of a data set.

    Args:
        head: the first bytes of the file.
        size: size of the file in bytes.
    """
    return any(_walk(head, size, order, explicit) for order, explicit in (("<", True), ("<", False), (">", True)))


def _walk(head: bytes, size: int, order: str, explicit: bool) -> bool:
    position, last, count = 0, -1, 0
    while position + 8 <= len(head) and count < _ENOUGH:
        group, number = struct.unpack_from(f"{order}HH", head, position)
        tag = group << 16 | number
        if count and group > 2 >= last >> 16:  # after the meta group, its transfer syntax applies
            return True
        if tag <= last or (not count and not _is_first(group, number)):
            return False
        length, position = _read_length(head, position, order, explicit)
        if length == _UNDEFINED:
            return True
        if length < 0 or position + length > size:
            return False
        last, count, position = tag, count + 1, position + length
    return count > 1 or (count == 1 and position + 8 > len(head))


def _is_first(group: int, number: int) -> bool:
    """Returns whether a data set may start with an element: a group length, or one in the DICOM dictionary."""
    from pydicom.datadict import dictionary_has_tag

    return group in _FIRST_GROUPS and (number == 0 or dictionary_has_tag(group << 16 | number))


def _read_length(head: bytes, position: int, order: str, explicit: bool) -> tuple[int, int]:
    """Returns the length and start of an element's value; the length is -1 if the VR is invalid."""
    vr = head[position + 4 : position + 6]
    if not explicit:
        return int(struct.unpack_from(f"{order}L", head, position + 4)[0]), position + 8
    if vr not in _VALUE_REPRESENTATIONS:
        return -1, position
    if vr not in _LONG:
        return int(struct.unpack_from(f"{order}H", head, position + 6)[0]), position + 8
    if position + 12 > len(head):
        return -1, position
    return int(struct.unpack_from(f"{order}L", head, position + 8)[0]), position + 12
