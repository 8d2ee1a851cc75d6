"""Reads a binary mask from PNG, NIfTI or .npy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from .errors import AnnotationError, UnreadableFileError
from .file_kind import describe_other, is_gzip, is_nifti, sniff
from .limits import check_pixels
from .read_nifti import read_nifti_values
from .read_picture import is_deep, open_picture, read_deep

NUMBER_MODES = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L")
"""Pillow modes whose arrays contain one number per pixel."""

_NPY = b"\x93NUMPY"


def read_mask(path: str | Path) -> NDArray[np.bool_]:
    """Reads the mask of one structure; pixels are inside unless they are 0, NaN or infinite.

    Transparent pixels and index 0 of a palette are outside, as in label maps; see `read_numbers`. NIfTI masks are
    brought upright in the same way as NIfTI images; see `read_nifti_values`. JPEG is refused, because its compression
    artifacts around edges would count as inside.

    Args:
        path: .png of any bit depth, .nii, .nii.gz, or .npy of shape (H, W); axes of length 1 are dropped.

    Returns:
        bool (H, W).

    Raises:
        FileNotFoundError: the file does not exist.
        UnreadableFileError: the file type is not supported, the file is damaged, or it contains no finite value.
        AnnotationError: the palette of a picture contradicts its indices.
    """
    with Path(path).open("rb") as stream:
        head = stream.read(4096)
    if head.startswith(b"\x89PNG"):
        return _read_png(path)
    if head.startswith(_NPY):
        return _check_inside(path, _read_npy(path))
    if is_gzip(head):
        sniff(path)  # raises an error that names other gzipped types
    name = "a JPEG picture" if head.startswith(b"\xff\xd8\xff") else describe_other(head)[0] if head else "empty"
    is_named_so = not name and Path(path).name.lower().endswith((".nii", ".hdr"))
    if is_gzip(head) or is_nifti(head) or is_named_so:
        return np.ascontiguousarray(_check_inside(path, read_nifti_values(path)[0]))
    found = f" (it is {name})" if name else ""
    raise UnreadableFileError(
        path, "a mask is expected as PNG, NIfTI or .npy", f"convert it, without lossy compression{found}"
    )


def find_inside(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Returns where values are finite and not 0; masks from SPM, R and MATLAB have NaN outside.

    Args:
        values: numbers or bool, any shape.

    Raises:
        TypeError: the array is not numeric.
    """
    if values.dtype.kind not in "biufc":
        raise TypeError(f"a mask expects numbers, got an array of {values.dtype}; save it as uint8.")
    return np.asarray((values != 0) & np.isfinite(values) if values.dtype.kind in "fc" else values != 0)


def _check_inside(path: str | Path, values: NDArray[Any]) -> NDArray[np.bool_]:
    """Applies `find_inside` to the values of a file, and refuses a file without any finite value."""
    inside = find_inside(values)
    if values.dtype.kind in "fc" and not inside.any() and not np.isfinite(values).any():
        raise UnreadableFileError(path, "its mask holds nothing but NaN or infinity", "export it again, with 0 outside")
    return inside


def read_npy_shape(path: str | Path) -> tuple[int, int]:
    """Reads the rows and columns of a mask from the header of a .npy file.

    Raises:
        UnreadableFileError: the array is not 2D after dropping axes of length 1, it is not numeric, or the file is
            damaged.
    """
    try:
        with Path(path).open("rb") as stream:
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(stream)
    except Exception as error:  # NumPy raises many exception types for a damaged header
        raise UnreadableFileError(path, "its array does not load", "save it again") from error
    if dtype.kind not in "biufc":
        raise UnreadableFileError(path, f"its array holds {dtype}, but numbers are expected", "save it as uint8")
    sides = [int(length) for length in shape]
    while len(sides) > 2 and 1 in sides:
        sides.remove(1)
    if len(sides) != 2:
        raise UnreadableFileError(
            path,
            f"its array has the shape {tuple(shape)}, but one structure (H, W) is expected",
            "save each structure, or channel, in a separate file",
        )
    check_pixels(path, *sides)
    return sides[0], sides[1]


def _read_npy(path: str | Path) -> NDArray[Any]:
    """Reads a .npy file; the header is checked first, because NumPy allocates what it declares."""
    shape = read_npy_shape(path)
    try:
        return np.asarray(np.load(path, allow_pickle=False)).reshape(shape)
    except Exception as error:
        raise UnreadableFileError(path, "its array does not load", "save it again") from error


def _read_png(path: str | Path) -> NDArray[np.bool_]:
    """Reads a PNG mask; pixels are inside if any color channel is above 0 and they are not fully transparent."""
    with open_picture(path, ("PNG",)) as picture:
        try:
            values = read_deep(path, picture) if is_deep(path, picture) else _read_channels(path, picture)
        except AnnotationError:
            raise
        except Exception as error:  # Pillow raises many exception types for damaged data
            raise UnreadableFileError(path, "its image data cannot be decoded", "export it again") from error
    if values.ndim == 2:
        return np.asarray(values != 0)
    alpha = values[..., -1] > 0 if values.shape[-1] in {2, 4} else np.ones(values.shape[:2], dtype=bool)
    colors = values[..., :-1] if values.shape[-1] in {2, 4} else values
    return np.asarray((colors != 0).any(axis=-1) & alpha)


def _read_channels(path: str | Path, picture: Image.Image) -> NDArray[Any]:
    """Returns the channels, (H, W) or (H, W, C), of an image that Pillow reads at full bit depth."""
    if picture.mode in NUMBER_MODES:
        return read_numbers(path, picture)
    ImageOps.exif_transpose(picture, in_place=True)
    return np.asarray(picture.convert("RGBA") if picture.info.get("transparency") is not None else picture)


def read_numbers(path: str | Path, picture: Image.Image) -> NDArray[Any]:
    """Returns the numbers (H, W) of a picture of one of the `NUMBER_MODES`, upright, with 0 where it is transparent.

    The numbers of a palette picture are its indices. Index 0 must be black or transparent and the others must not, so
    that what is outside does not depend on whether one looks at numbers or at colors.

    Raises:
        AnnotationError: the colors of a palette contradict the indices.
    """
    ImageOps.exif_transpose(picture, in_place=True)
    values = np.asarray(picture)
    if picture.mode != "P":
        transparent = picture.info.get("transparency")
        if transparent is None:
            return values
        return np.where(values == (bool(transparent) if picture.mode == "1" else transparent), 0, values)
    colors = np.asarray(picture.convert("RGBA"))
    is_opaque = colors[..., 3] > 0
    if (((values != 0) != (colors[..., :3] != 0).any(axis=-1)) & is_opaque).any():
        raise AnnotationError(
            f"{Path(path).name}: its palette shows index 0 in a color, or another index in black, so it is unclear "
            "what is outside; save the numbers as a gray picture, with 0 outside."
        )
    return np.where(is_opaque, values, 0)
