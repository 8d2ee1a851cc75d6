"""Reads a radiograph, or a mask, from NIfTI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .decode import MAX_PIXELS
from .errors import BrokenPixelDataError, UnreadableFileError, UnsupportedImageError
from .radiograph_meta import make_meta


def read_nifti(path: str | Path) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Reads a NIfTI file of one 2D image into the contract of `read_radiograph`.

    Args:
        path: .nii or .nii.gz of shape (X, Y) or (X, Y, 1).

    Returns:
        float32 (H, W), least to largest finite value on [0, 1] (8-bit unsigned: over 255); and metadata.

    Raises:
        UnreadableFileError: nibabel does not read its header.
        UnsupportedImageError: a volume, or color.
        BrokenPixelDataError: cut short, or of an absurd size.
    """
    values, spacing_mm = read_nifti_values(path)
    image = values.astype(np.float64)
    if values.dtype == np.uint8:
        low, high = 0.0, 255.0
    else:
        finite = image[np.isfinite(image)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    unit = np.clip((image - low) / (high - low if high > low else 1.0), 0.0, 1.0)
    finite_unit = np.nan_to_num(unit, nan=0.0).astype(np.float32)
    return finite_unit, make_meta(path, finite_unit.shape, spacing_mm)


def read_nifti_values(path: str | Path) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """The values as stored, (H, W) upright, and the row and column spacing in mm.

    NIfTI's first axis runs along columns, its second along rows: the array is transposed. Where the affine says that
    one axis of the plane runs along the body (world z), the picture is turned so that row 0 is superior and column 0
    is the patient's right (frontal) or anterior (lateral). Where neither does, the affine says nothing of up and down:
    2D files that ITK and MONAI write from a picture lie in the axial plane, and are upright as they are.

    Raises:
        UnreadableFileError, UnsupportedImageError, BrokenPixelDataError: as `read_nifti`.
    """
    import nibabel

    try:
        volume = nibabel.load(path)
        shape = tuple(int(length) for length in volume.shape)
    except Exception as error:  # nibabel raises many kinds on a broken header
        raise UnreadableFileError(path, "its NIfTI header does not parse", "export it again") from error
    if len(shape) < 2 or any(length != 1 for length in shape[2:]) or volume.get_data_dtype().fields:
        raise UnsupportedImageError(
            path, f"its shape is {shape}, and (X, Y) or (X, Y, 1) is expected", "export 2D gray"
        )
    if not 0 < shape[0] * shape[1] <= MAX_PIXELS:
        raise BrokenPixelDataError(path, f"its header says {shape[:2]} pixels", "mend or leave it out")
    try:
        values = np.asanyarray(volume.dataobj).reshape(shape[:2])
    except Exception as error:  # zlib, OSError, ValueError: the data are cut short
        raise BrokenPixelDataError(
            path, f"its data do not decode ({type(error).__name__})", "fetch it again"
        ) from error
    columns = np.asarray(volume.affine, dtype=np.float64)[:3, :2]
    return _turn_upright(values, columns)


def _turn_upright(values: NDArray[Any], axes: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """(X, Y) values and the world vectors (3, 2) of a step along X and Y to (H, W) and spacing (row, column)."""
    lengths = np.linalg.norm(axes, axis=0)
    spacing = np.where(np.isfinite(lengths) & (lengths > 0), lengths, np.nan)
    along = np.abs(axes).argmax(axis=0)  # world axis (R, A, S) of X and Y
    if 2 not in along or not np.isfinite(spacing).all():
        return values.T, spacing[::-1].copy()
    row_axis = int(np.flatnonzero(along == 2)[0])
    column_axis = 1 - row_axis
    picture = values.T if row_axis == 1 else values
    if axes[2, row_axis] > 0:  # steps upwards: the last one is superior
        picture = picture[::-1]
    # World +R must run to the left (the patient's right is on the image's left), world +A as well.
    if axes[along[column_axis], column_axis] > 0:
        picture = picture[:, ::-1]
    return picture, spacing[[row_axis, column_axis]]
