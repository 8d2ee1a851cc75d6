"""Reads a binary mask from PNG, NIfTI or .npy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from .errors import UnreadableFileError
from .read_nifti import read_nifti_values


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
        return np.asarray(np.squeeze(np.load(path, allow_pickle=False)) != 0)
    if Path(path).name.endswith((".nii", ".nii.gz")):
        return np.ascontiguousarray(read_nifti_values(path)[0] != 0)
    raise UnreadableFileError(path, "a mask is expected as PNG, NIfTI or .npy", "convert it, without lossy compression")


def _read_png(path: str | Path) -> NDArray[np.bool_]:
    """Inside is where any color channel is above 0; transparency counts as outside."""
    try:
        with Image.open(path, formats=("PNG",)) as opened:
            picture = ImageOps.exif_transpose(opened)
            if picture.mode in {"P", "PA"}:
                picture = picture.convert("RGBA")
            values = np.asarray(picture)
    except (OSError, SyntaxError, ValueError) as error:
        raise UnreadableFileError(path, "its picture does not decode", "export it again") from error
    if values.ndim == 2:
        return np.asarray(values != 0)
    alpha = values[..., -1] > 0 if values.shape[-1] in {2, 4} else np.ones(values.shape[:2], dtype=bool)
    colors = values[..., :-1] if values.shape[-1] in {2, 4} else values
    return np.asarray((colors != 0).any(axis=-1) & alpha)
