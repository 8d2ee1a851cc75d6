"""Reads a label map, one class number per pixel, as written by annotation tools."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import AnnotationError, UnreadableFileError
from .limits import check_pixels
from .read_mask import NUMBER_MODES, read_numbers
from .read_nifti import read_nifti_values, turn_upright
from .read_picture import open_picture


def read_label_map(path: str | Path) -> NDArray[np.int64]:
    """Reads a label map of one 2D image from PNG, NIfTI, NRRD or DICOM; the type is detected from the content.

    In NIfTI and NRRD files the first axis runs along columns, and there may be trailing axes of length 1. They are
    brought upright in the same way as NIfTI images; see `read_nifti_values`.

    Args:
        path: the file.

    Returns:
        int64 (H, W), 0 for background.

    Raises:
        FileNotFoundError: the file does not exist.
        RadiographError: the file type is not supported, or the file is damaged.
        AnnotationError: the file contains a volume, color, several layers, or negative or fractional numbers, or its
            palette contradicts its indices (see `read_numbers`).
    """
    with Path(path).open("rb") as stream:
        head = stream.read(132)
    if head.startswith(b"\x89PNG"):
        values = _read_png(path)
    elif head.startswith(b"NRRD000"):
        values = _read_nrrd(path)
    elif head[128:] == b"DICM":
        values = _read_dicom(path)
    elif head.startswith(b"\x1f\x8b") or Path(path).name.endswith((".nii", ".hdr")):
        values = read_nifti_values(path)[0]
    else:
        raise UnreadableFileError(
            path, "a label map is expected as PNG, NIfTI or NRRD", "save it without lossy compression"
        )
    return _as_whole_numbers(path, values)


def _read_png(path: str | Path) -> NDArray[Any]:
    with open_picture(path, ("PNG",)) as picture:
        if picture.mode not in NUMBER_MODES:
            raise _wrong(path, f"is a color picture (mode {picture.mode})", "export class numbers, not colors")
        try:
            return read_numbers(path, picture)
        except AnnotationError:
            raise
        except Exception as error:  # Pillow raises many exception types for damaged data
            raise UnreadableFileError(path, "its image data cannot be decoded", "export it again") from error


def _read_nrrd(path: str | Path) -> NDArray[Any]:
    """Reads an NRRD file; the header is checked first, because ITK allocates what it declares.

    The reader is chosen explicitly: ITK's automatic choice would also try its DICOM reader, which must not share a
    process with python-gdcm.
    """
    import itk

    reader = itk.NrrdImageIO.New()
    try:
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        sizes = [int(reader.GetDimensions(axis)) for axis in range(reader.GetNumberOfDimensions())]
    except RuntimeError as error:
        raise UnreadableFileError(path, "its header does not parse", "export it again") from error
    _check_plane(path, sizes, int(reader.GetNumberOfComponents()))
    try:
        image = itk.imread(str(path), itk.F, imageio=reader)
        values = np.asarray(itk.array_from_image(image)).reshape(sizes[1], sizes[0])
    except RuntimeError as error:
        raise UnreadableFileError(path, "its data cannot be decoded", "export it again") from error
    return turn_upright(values.T, _axes_of(image))[0]


def _read_dicom(path: str | Path) -> NDArray[Any]:
    """Reads the class numbers that MONAI Label's server returns by default for a DICOM image."""
    from .dicom.parse import read_header
    from .dicom.pixels.decode import decode_pixels

    values, photometric = decode_pixels(path, read_header(path))
    if values.ndim != 2:
        raise _wrong(path, f"is a color picture ({photometric})", "export class numbers, not colors")
    return values


def _check_plane(path: str | Path, sizes: Sequence[int], components: int) -> None:
    if len(sizes) < 2 or any(length != 1 for length in sizes[2:]) or components != 1:
        raise _wrong(
            path,
            f"has the shape {tuple(sizes)} with {components} numbers per pixel",
            "export one label map (X, Y) or (X, Y, 1) in which structures do not overlap",
        )
    check_pixels(path, sizes[1], sizes[0])


def _axes_of(image: Any) -> NDArray[np.float64]:
    """Returns the world vectors (3, 2) of a step along X and Y, converted from LPS to RAS."""
    direction = np.asarray(image.GetDirection(), dtype=np.float64)
    axes = np.zeros((3, 2))
    axes[: len(direction)] = direction[:, :2] * np.asarray(image.GetSpacing(), dtype=np.float64)[:2]
    axes[:2] *= -1.0
    return axes


def _as_whole_numbers(path: str | Path, values: NDArray[Any]) -> NDArray[np.int64]:
    if values.ndim != 2 or not np.isfinite(values).all() or (values < 0).any() or (values != np.floor(values)).any():
        raise _wrong(
            path, "holds numbers that are negative, fractional or not finite", "export class numbers 0, 1, 2, ..."
        )
    return np.ascontiguousarray(values).astype(np.int64)


def _wrong(path: str | Path, problem: str, remedy: str) -> AnnotationError:
    """Returns the error for a file that can be read but is not a valid label map."""
    return AnnotationError(f"{Path(path).name}: the label map {problem}; {remedy}.")
