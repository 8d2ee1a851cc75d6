"""Reads a radiograph or a mask from NIfTI."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import BrokenPixelDataError, RadiographError, UnreadableFileError, UnsupportedImageError
from .limits import MAX_FILE_BYTES, check_pixels
from .radiograph_meta import make_meta

_ROWS_AT_ONCE = 64
_HEADER_BYTES = 540  # of NIfTI-2; NIfTI-1 has 348
_SPACE_UNIT = 0b111  # of xyzt_units; the bits above are the unit of time
_MM_OF_UNIT = {1: 1000.0, 2: 1.0, 3: 0.001}  # NIFTI_UNITS_METER, MM, MICRON


def read_nifti(path: str | Path) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Reads a NIfTI file with one 2D image; the result is that of `read_radiograph`.

    Args:
        path: a file (.nii, .nii.gz, or .hdr with its .img) of shape (X, Y) or (X, Y, 1).

    Returns:
        The image and its metadata. The image is float32 (H, W) in [0, 1], scaled from the smallest to the largest
        finite value (unsigned 8-bit values are divided by 255), and 0 where a value is NaN or infinite.

    Raises:
        UnreadableFileError: the header cannot be parsed.
        UnsupportedImageError: the file contains a volume, color, or complex numbers.
        BrokenPixelDataError: the data are truncated, implausibly large, or contain no finite value.
    """
    values, spacing_mm = read_nifti_values(path)
    ends = (0.0, 255.0) if values.dtype == np.uint8 else _finite_ends(path, values)
    image = np.empty(values.shape, dtype=np.float32)
    for row in range(0, len(values), _ROWS_AT_ONCE):
        image[row : row + _ROWS_AT_ONCE] = _to_unit(values[row : row + _ROWS_AT_ONCE], *ends)
    return image, make_meta(path, image.shape, spacing_mm)


def _finite_ends(path: str | Path, values: NDArray[Any]) -> tuple[float, float]:
    """Returns the smallest and the largest finite value."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        raise BrokenPixelDataError(path, "all of its values are NaN or infinite", "export it again")
    return float(finite.min()), float(finite.max())


def _to_unit(values: NDArray[Any], low: float, high: float) -> NDArray[Any]:
    """Scales the range [low, high] to [0, 1], clipped; 0 where a value is not finite or the range overflows."""
    with np.errstate(over="ignore", invalid="ignore"):
        unit = (values.astype(np.float64) - low) / (high - low if high > low else 1.0)
    return np.clip(np.where(np.isfinite(unit), unit, 0.0), 0.0, 1.0)


def read_nifti_values(path: str | Path) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Reads the values as an upright image (H, W), and the row and column spacing in mm.

    In NIfTI, the first axis runs along columns and the second along rows, so the array is transposed. If the affine
    aligns one axis of the image plane with the body axis (world z), the image is reoriented so that row 0 is superior
    and column 0 is the patient's right (frontal view) or anterior (lateral view). Otherwise the affine does not define
    up and down: 2D files that ITK and MONAI write from pictures are in the axial plane, and they are already upright.

    Lengths are in the spatial unit of the header: meters, millimeters (the default) or micrometers. A slope of 0 or NaN
    means no scaling, as defined by NIfTI-1 and implemented in nibabel. An infinite slope, or an intercept that is not
    finite, is an error.

    The header is checked before the data are read, and no more data are decompressed than it declares.

    Raises:
        UnreadableFileError, UnsupportedImageError, BrokenPixelDataError: see `read_nifti`.
    """
    header = _read_header(path)
    shape, dtype = _checked_shape(path, header), header.get_data_dtype()
    slope, intercept = _read_scaling(path, header)
    columns = _read_axes_mm(path, header)
    try:
        values = _scale(_read_values(Path(path), header, shape, dtype), slope, intercept)
    except RadiographError:
        raise
    except Exception as error:  # zlib.error, OSError, ValueError: the data are truncated
        raise BrokenPixelDataError(
            path, f"its data cannot be decoded ({type(error).__name__})", "fetch it again"
        ) from error
    return turn_upright(values, columns)


def read_nifti_size(path: str | Path) -> tuple[int, int]:
    """Reads the rows and columns (H, W) of the upright image from the header only.

    Raises:
        UnreadableFileError, UnsupportedImageError, BrokenPixelDataError: see `read_nifti`.
    """
    header = _read_header(path)
    stored = np.broadcast_to(np.zeros((), dtype=bool), _checked_shape(path, header))
    picture, _ = turn_upright(stored, _read_axes_mm(path, header))
    return int(picture.shape[0]), int(picture.shape[1])


def _checked_shape(path: str | Path, header: Any) -> tuple[int, int]:
    """Returns the shape (X, Y) in a header after checking that it describes one 2D image of plausible size."""
    shape, dtype = tuple(int(length) for length in header.get_data_shape()), header.get_data_dtype()
    if len(shape) < 2 or any(length != 1 for length in shape[2:]) or dtype.kind not in "iuf":
        raise UnsupportedImageError(
            path, f"its shape is {shape} of {dtype.name}, but (X, Y) or (X, Y, 1) is expected", "export 2D gray"
        )
    if min(shape) < 1:
        raise BrokenPixelDataError(path, f"its header says {shape[:2]} pixels", "correct the file or exclude it")
    check_pixels(path, shape[1], shape[0])
    return shape[0], shape[1]


def _read_header(path: str | Path) -> Any:
    """Reads the header, which nibabel checks; extensions are ignored."""
    import nibabel

    try:
        block = _read_bytes(Path(path), 0, _HEADER_BYTES)
        if block[4:8] == b"n+2\0" or block[4:8] == b"ni2\0":
            return nibabel.Nifti2Header(block[:540])
        return nibabel.Nifti1Header(block[:348])
    except Exception as error:  # nibabel raises many exception types for a damaged header
        raise UnreadableFileError(path, "its NIfTI header does not parse", "export it again") from error


def _read_values(path: Path, header: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Reads the stored values, (X, Y)."""
    in_pair = bytes(header["magic"]).startswith(b"ni")
    start, count = int(header["vox_offset"]), shape[0] * shape[1] * dtype.itemsize
    if not 0 <= start <= MAX_FILE_BYTES - count:
        raise BrokenPixelDataError(
            path, f"its header says that data start at byte {start}", "correct the file or exclude it"
        )
    file = path.with_suffix(".img") if in_pair else path
    if not file.is_file():
        raise BrokenPixelDataError(path, f"its pixel file {file.name} is not in the same folder", "copy both")
    data = _read_bytes(file, start, count)
    return np.frombuffer(data, dtype, shape[0] * shape[1]).reshape(shape, order="F")


def _read_bytes(path: Path, start: int, count: int) -> bytes:
    """Reads bytes of a file, which is decompressed if it is gzipped."""
    with path.open("rb") as stream:
        if stream.read(2) != b"\x1f\x8b":
            stream.seek(start)
            return stream.read(count)
        stream.seek(0)
        with gzip.GzipFile(fileobj=stream) as inflated:
            inflated.seek(start)
            return inflated.read(count)


def _scale(values: NDArray[Any], slope: float, intercept: float) -> NDArray[Any]:
    """Applies slope and intercept; the values are returned unchanged if the scaling is the identity."""
    return values if slope == 1.0 and intercept == 0.0 else values.astype(np.float64) * slope + intercept


def _read_scaling(path: str | Path, header: Any) -> tuple[float, float]:
    """Reads the slope and intercept; 1 and 0 if the header defines no scaling."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0.0 or np.isnan(slope):
        return 1.0, 0.0
    if not np.isfinite([slope, intercept]).all():
        raise BrokenPixelDataError(
            path,
            f"its scl_slope is {slope} and its scl_inter {intercept}, but finite numbers are expected",
            "correct its header",
        )
    return slope, intercept


def _read_axes_mm(path: str | Path, header: Any) -> NDArray[np.float64]:
    """Reads the world vectors (3, 2) of a step along X and Y, in mm."""
    try:
        axes = np.asarray(header.get_best_affine(), dtype=np.float64)[:3, :2]
    except Exception as error:  # nibabel raises it for invalid quaternions
        raise BrokenPixelDataError(path, "its qform is not a rotation", "correct its header") from error
    if (int(header["sform_code"]) or int(header["qform_code"])) and not np.isfinite(axes).all():
        raise BrokenPixelDataError(
            path,
            "its affine (sform or qform) holds NaN or infinity, so its orientation is unknown",
            "correct its header",
        )
    return axes * _MM_OF_UNIT.get(int(header["xyzt_units"]) & _SPACE_UNIT, 1.0)


def turn_upright(values: NDArray[Any], axes: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Brings values (X, Y) upright, as described in `read_nifti_values`.

    Args:
        values: (X, Y).
        axes: (3, 2), world vectors of a step along X and Y.

    Returns:
        The upright image (H, W) and the spacing (row, column).
    """
    lengths = np.linalg.norm(axes, axis=0)
    spacing = np.where(np.isfinite(lengths) & (lengths > 0), lengths, np.nan)
    along = np.abs(axes).argmax(axis=0)  # world axis (R, A, S) of X and Y
    if 2 not in along or not np.isfinite(spacing).all():
        return values.T, spacing[::-1].copy()
    row_axis = int(np.flatnonzero(along == 2)[0])
    column_axis = 1 - row_axis
    picture = values.T if row_axis == 1 else values
    if axes[2, row_axis] > 0:  # runs upward: the last row is superior
        picture = picture[::-1]
    # World +R must point to the left, because the patient's right is on the left of the image; +A likewise.
    if axes[along[column_axis], column_axis] > 0:
        picture = picture[:, ::-1]
    return picture, spacing[[row_axis, column_axis]]


@dataclass(frozen=True)
class NiftiGrid:
    """The voxel grid of a NIfTI file, used to map its upright image back to voxels.

    Attributes:
        shape: shape of the file, (X, Y) or (X, Y, 1, ...).
        affine: float64 (4, 4), maps voxel indices to millimeters in RAS.
    """

    shape: tuple[int, ...]
    affine: NDArray[np.float64]

    @property
    def is_axial(self) -> bool:
        """Whether the upright image is just the transpose of the stored array."""
        return 2 not in np.abs(self.affine[:3, :2]).argmax(axis=0)

    def lay(self, picture: NDArray[Any]) -> NDArray[Any]:
        """Maps upright pixels (H, W) back to voxels (X, Y); the inverse of the reorientation in `read_nifti_values`."""
        indices = np.arange(self.shape[0] * self.shape[1]).reshape(self.shape[:2])
        upright = turn_upright(indices, self.affine[:3, :2])[0]
        voxels = np.empty(indices.size, dtype=picture.dtype)
        voxels[upright.ravel()] = picture.ravel()
        return voxels.reshape(self.shape[:2])


def read_nifti_grid(path: str | Path) -> NiftiGrid:
    """Reads the voxel grid from the header of a NIfTI file.

    Raises:
        UnreadableFileError: the header cannot be parsed.
    """
    header = _read_header(path)
    shape = tuple(int(length) for length in header.get_data_shape())
    return NiftiGrid(shape, np.asarray(header.get_best_affine(), dtype=np.float64))
