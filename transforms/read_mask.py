"""Reads a binary mask from PNG, NIfTI or .npy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ImageOps

from .errors import RadiographError, UnreadableFileError
from .limits import MAX_PIXELS, check_pixels
from .read_nifti import read_nifti_values
from .read_picture import open_picture


def read_mask(path: str | Path) -> NDArray[np.bool_]:
    """Reads one structure's mask: what is not 0 is inside.

    NIfTI masks are turned upright by the rule of their images, see `read_nifti_values`. JPEG is refused: its noise
    around edges would be inside.

    Args:
        path: .png of any bit depth, .nii, .nii.gz, or .npy of shape (H, W).

    Returns:
        bool (H, W).

    Raises:
        FileNotFoundError: no such file.
        UnreadableFileError: another kind of file, or a broken one.
    """
    with Path(path).open("rb") as stream:
        head = stream.read(8)
    if head.startswith(b"\x89PNG"):
        return _read_png(path)
    if head.startswith(b"\x93NUMPY"):
        return _read_npy(path)
    if head.startswith(b"\x1f\x8b") or Path(path).name.endswith((".nii", ".hdr")):
        return np.ascontiguousarray(read_nifti_values(path)[0] != 0)
    raise UnreadableFileError(path, "a mask is expected as PNG, NIfTI or .npy", "convert it, without lossy compression")


def _read_npy(path: str | Path) -> NDArray[np.bool_]:
    """The header is read first: what it says is what NumPy allocates."""
    try:
        with Path(path).open("rb") as stream:
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape = read(stream)[0]
        sides = [length for length in shape if length != 1]
        check_pixels(path, *([1, 1, *sides][-2:] if len(sides) < 3 else (MAX_PIXELS, MAX_PIXELS)))
        return np.asarray(np.squeeze(np.load(path, allow_pickle=False)) != 0)
    except RadiographError:
        raise
    except Exception as error:
        raise UnreadableFileError(path, "its array does not load", "save it again") from error


def _read_png(path: str | Path) -> NDArray[np.bool_]:
    """Inside is where any color channel is above 0; transparency counts as outside."""
    with open_picture(path, ("PNG",)) as picture:
        try:
            ImageOps.exif_transpose(picture, in_place=True)
            values = np.asarray(picture.convert("RGBA") if picture.mode in {"P", "PA"} else picture)
        except Exception as error:  # Pillow raises many kinds on a broken stream
            raise UnreadableFileError(path, "its picture does not decode", "export it again") from error
    if values.ndim == 2:
        return np.asarray(values != 0)
    alpha = values[..., -1] > 0 if values.shape[-1] in {2, 4} else np.ones(values.shape[:2], dtype=bool)
    colors = values[..., :-1] if values.shape[-1] in {2, 4} else values
    return np.asarray((colors != 0).any(axis=-1) & alpha)
