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
    """A file that can be read and holds no mask: another format, or an array that is not (H, W)."""


def read_image_size(path: str | Path) -> tuple[int, int]:
    """Rows and columns (H, W), as the transforms load the file.

    Args:
        path: DICOM, PNG, JPEG, NIfTI, or .npy; or a folder that holds one such file.

    Raises:
        OSError: no such file, or no permission to read it.
        RadiographError: its header cannot be read.
        WrongMaskError: a .npy file whose array is not (H, W).
    """
    file = find_single_file(path)
    if file.suffix == ".npy":
        return _npy_size(file)
    kind = sniff(file)
    if kind == "dicom":
        return _dicom_size(file)
    return read_nifti_size(file) if kind == "nifti" else _picture_size(file, ("PNG", "JPEG"))


def read_mask_size(path: str | Path) -> tuple[int, int]:
    """Rows and columns (H, W) of a mask, as `read_mask` loads it.

    Raises:
        OSError: no such file, or no permission to read it.
        RadiographError: its header cannot be read.
        WrongMaskError: neither PNG, NIfTI nor .npy, or an array that is not (H, W).
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
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit replaces Pillow's
            with Image.open(path, formats=formats) as picture:
                rows, columns = picture.height, picture.width
                transposed = picture.getexif().get(_EXIF_ORIENTATION) in _TRANSPOSED
    except (FileNotFoundError, PermissionError):
        raise
    except Image.DecompressionBombError as error:  # twice Pillow's limit, which is above ours
        raise BrokenPixelDataError(
            path, "its header says more pixels than any radiograph has", "split or shrink it"
        ) from error
    except Exception as error:  # Pillow raises many kinds on a broken stream
        raise UnreadableFileError(path, "its picture header does not parse", "export it again") from error
    check_pixels(path, rows, columns)
    return (columns, rows) if transposed else (rows, columns)


def _npy_size(path: str | Path) -> tuple[int, int]:
    """Axes of length 1 are dropped, as `read_mask` drops them."""
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
    """DICOM PS3.3 C.7.6.3: Rows and Columns."""
    header = read_header(path, with_pixels=False)
    rows, columns = int(header.get("Rows") or 0), int(header.get("Columns") or 0)
    if not rows or not columns:
        raise UnreadableFileError(path, "its DICOM header has no Rows and Columns", "it holds no image: leave it out")
    check_pixels(path, rows, columns)
    return rows, columns
