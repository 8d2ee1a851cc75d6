"""Reads and checks the description of the pixels in a DICOM header before they are decoded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtmedformer_monai.transforms.dicom.code_strings import read_code
from mtmedformer_monai.transforms.errors import (
    BrokenPixelDataError,
    MultiFrameError,
    NoPixelsError,
    UnreadableFileError,
    UnsupportedImageError,
)
from mtmedformer_monai.transforms.limits import check_pixels

_SAMPLES = {
    "MONOCHROME1": 1, "MONOCHROME2": 1, "PALETTE COLOR": 1, "RGB": 3, "YBR_FULL": 3, "YBR_FULL_422": 3, "YBR_RCT": 3,
    "YBR_ICT": 3,
}  # fmt: skip
_FLOATING_POINT = {"FL", "FD", "OF", "OD"}
"""VRs that Pixel Data must not have; they show that the pixels are floating point."""


class ContradictionError(ValueError):
    """The pixel data contradict the header; the message describes what they hold, and completes 'hold'."""


@dataclass(frozen=True)
class ImagePixel:
    """The image pixel description (Image Pixel Module) of one frame (DICOM PS3.3 C.7.6.3).

    Attributes:
        rows: number of rows.
        columns: number of columns.
        samples: samples per pixel, 1 or 3 (color).
        bits_allocated: bits allocated per sample, 1, 8, 16 or 32.
        bits_stored: bits stored per sample, at most `bits_allocated`.
        high_bit: highest stored bit; above `bits_stored` - 1 in old files with left-aligned values.
        is_signed: whether samples are in two's complement.
        is_planar: whether the colors are stored in separate planes.
        photometric: Photometric Interpretation.
    """

    rows: int
    columns: int
    samples: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    is_signed: bool
    is_planar: bool
    photometric: str

    @property
    def num_bytes(self) -> int:
        """Size of one uncompressed frame in bytes, before padding to an even number."""
        samples = 2 if self.photometric == "YBR_FULL_422" else self.samples
        return -(-self.rows * self.columns * samples * self.bits_allocated // 8)


def read_image_pixel(path: str | Path, header: Any) -> ImagePixel:
    """Reads the image pixel description of a header, and checks that it is a single frame of plausible size.

    Args:
        path: the file, for messages.
        header: pydicom Dataset.

    Raises:
        MultiFrameError: there is more than one frame.
        NoPixelsError: there are no pixel data, or the size is not usable.
        UnsupportedImageError: the color space is not supported, or the pixels are floating point.
        BrokenPixelDataError: the size is implausibly large, or attributes contradict each other.
    """
    frames = read_number(path, header, "NumberOfFrames", 1)
    if frames > 1:
        raise MultiFrameError(
            path, f"it has {frames} frames, but one 2D image is expected", "export a frame or the synthetic 2D view"
        )
    if "PixelData" not in header or header["PixelData"].VR in _FLOATING_POINT:
        raise _no_pixel_data(path, header)
    rows, columns = read_number(path, header, "Rows", 0), read_number(path, header, "Columns", 0)
    if rows < 1 or columns < 1:
        raise NoPixelsError(path, f"its header says {rows} rows x {columns} columns", "correct the file or exclude it")
    check_pixels(path, rows, columns)
    photometric = read_code(header, "PhotometricInterpretation")
    samples = _check_samples(path, header, photometric)
    allocated, stored, high_bit = _check_bits(path, header)
    signed = _read_flag(path, header, "PixelRepresentation")
    planar = samples == 3 and _read_flag(path, header, "PlanarConfiguration")
    return ImagePixel(rows, columns, samples, allocated, stored, high_bit, signed, planar, photometric)


def read_number(path: str | Path, header: Any, keyword: str, default: int) -> int:
    """Reads an integer from a header.

    Args:
        path: the file, for messages.
        header: pydicom Dataset.
        keyword: keyword of the element.
        default: value if the element is missing or empty.

    Raises:
        UnreadableFileError: the element has several values, or the value is not an integer.
    """
    value = header.get(keyword)
    try:
        return default if value is None or value == "" else int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise UnreadableFileError(path, f"its {keyword} is not a whole number", "correct its header") from error


def _read_flag(path: str | Path, header: Any, keyword: str) -> bool:
    """Reads an element that is 0 or 1."""
    number = read_number(path, header, keyword, 0)
    if number not in {0, 1}:
        raise BrokenPixelDataError(path, f"its {keyword} is {number}, but 0 or 1 is expected", "correct its header")
    return number == 1


def _no_pixel_data(path: str | Path, header: Any) -> NoPixelsError | UnsupportedImageError:
    if {"PixelData", "FloatPixelData", "DoubleFloatPixelData"} & set(header.dir()):
        return UnsupportedImageError(
            path, "its pixel data are floating point, but integers are expected", "export integers"
        )
    return NoPixelsError(path, "it has no pixel data", "export the object with its pixels, or exclude it")


def _check_samples(path: str | Path, header: Any, photometric: str) -> int:
    """Returns the samples per pixel after checking that they match the Photometric Interpretation."""
    expected = _SAMPLES.get(photometric)
    if expected is None:
        raise UnsupportedImageError(
            path,
            f"its Photometric Interpretation is {photometric[:16] or 'missing'}",
            "convert it to MONOCHROME2 or RGB",
        )
    samples = read_number(path, header, "SamplesPerPixel", 1)
    if samples != expected:
        raise BrokenPixelDataError(
            path, f"its header says {samples} samples per pixel, but {photometric} has {expected}", "correct its header"
        )
    return expected


def _check_bits(path: str | Path, header: Any) -> tuple[int, int, int]:
    """Reads and checks Bits Allocated, Bits Stored and High Bit."""
    allocated = read_number(path, header, "BitsAllocated", 0)
    stored = read_number(path, header, "BitsStored", allocated)
    high_bit = read_number(path, header, "HighBit", stored - 1)
    if allocated not in {1, 8, 16, 32} or not 1 <= stored <= allocated:
        raise BrokenPixelDataError(
            path,
            f"its header says {stored} bits stored of {allocated} allocated, but 1, 8, 16 or 32 are expected",
            "correct its header",
        )
    return allocated, stored, high_bit if stored <= high_bit < allocated else stored - 1
