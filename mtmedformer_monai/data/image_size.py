"""Reads the size of a radiograph or a mask from its header, without decoding pixels."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from mtmedformer_monai.transforms.dicom.parse import read_header
from mtmedformer_monai.transforms.errors import BrokenPixelDataError, UnreadableFileError
from mtmedformer_monai.transforms.file_kind import sniff
from mtmedformer_monai.transforms.limits import check_pixels
from mtmedformer_monai.transforms.read_nifti import read_nifti_size
from mtmedformer_monai.transforms.reading import find_single_file

_EXIF_ORIENTATION = 0x0112
_TRANSPOSED = (5, 6, 7, 8)


class WrongMaskError(ValueError):
    """Raised for a readable file that is not a mask: an unsupported format, or an array that is not (H, W)."""


def read_image_size(path: str | Path) -> tuple[int, int]:
    """Returns rows and columns (H, W) of an image as the transforms load it.

    Args:
        path: DICOM, PNG, JPEG, NIfTI or .npy file, or a folder that contains one such file.

    Raises:
        OSError: the file does not exist or is not readable.
        RadiographError: the header cannot be read.
        WrongMaskError: the array of a .npy file is not (H, W).
    """
    file = find_single_file(path)
    if file.suffix == ".npy":
        return _npy_size(file)
    kind = sniff(file)
    if kind == "dicom":
        return _dicom_size(file)
    return read_nifti_size(file) if kind == "nifti" else _picture_size(file, ("PNG", "JPEG"))


def read_mask_size(path: str | Path) -> tuple[int, int]:
    """Returns rows and columns (H, W) of a mask as `read_mask` loads it.

    Raises:
        OSError: the file does not exist or is not readable.
        RadiographError: the header cannot be read.
        WrongMaskError: the file is neither PNG, NIfTI nor .npy, or its array is not (H, W).
    """
    with Path(path).open("rb") as stream:
        head = stream.read(8)
    if not head:
        raise UnreadableFileError(path, "it is empty", "save it again")
    if head.startswith(b"\x89PNG"):
        return _picture_size(path, ("PNG",))
    if head.startswith(b"\x93NUMPY"):
        return _npy_size(path)
    if head.startswith(b"\x1f\x8b") or Path(path).name.endswith((".nii", ".hdr")):
        return read_nifti_size(path)
    raise WrongMaskError("a mask is expected as PNG, NIfTI or .npy; convert it, without lossy compression")


def _picture_size(path: str | Path, formats: tuple[str, ...]) -> tuple[int, int]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our limit replaces Pillow's
            with Image.open(path, formats=formats) as picture:
                rows, columns = picture.height, picture.width
                transposed = picture.getexif().get(_EXIF_ORIENTATION) in _TRANSPOSED
    except (FileNotFoundError, PermissionError):
        raise
    except Image.DecompressionBombError as error:  # raised above twice Pillow's limit, which is higher than ours
        raise BrokenPixelDataError(
            path, "its header specifies more pixels than any radiograph has", "split or shrink it"
        ) from error
    except Exception as error:  # Pillow raises various exceptions for a damaged file
        raise UnreadableFileError(path, "its picture header does not parse", "export it again") from error
    check_pixels(path, rows, columns)
    return (columns, rows) if transposed else (rows, columns)


def _npy_size(path: str | Path) -> tuple[int, int]:
    """Returns (H, W) of an array file; axes of length 1 are dropped, as in `read_mask`."""
    try:
        with Path(path).open("rb") as stream:
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape = tuple(int(length) for length in read(stream)[0])
    except ValueError as error:
        raise UnreadableFileError(path, "its array header does not parse", "save it again") from error
    sides = [length for length in shape if length != 1]
    if len(sides) != 2:
        raise WrongMaskError(f"its array has the shape {shape}, and (H, W) is expected; save one structure per file")
    check_pixels(path, *sides)
    return sides[0], sides[1]


def _dicom_size(path: str | Path) -> tuple[int, int]:
    """Returns Rows and Columns (DICOM PS3.3 C.7.6.3)."""
    header = read_header(path, with_pixels=False)
    rows, columns = int(header.get("Rows") or 0), int(header.get("Columns") or 0)
    if not rows or not columns:
        raise UnreadableFileError(path, "its DICOM header has no Rows and Columns", "it contains no image: remove it")
    check_pixels(path, rows, columns)
    return rows, columns
