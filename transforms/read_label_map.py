"""Reads a label map, one whole number per pixel, as annotation tools write it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ImageOps

from .errors import AnnotationError, RadiographError, UnreadableFileError
from .limits import check_pixels
from .read_nifti import read_nifti_values, turn_upright
from .read_picture import open_picture

_GRAY = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L")
"""Pillow's modes whose arrays hold the numbers themselves; of a palette, its indices."""


def read_label_map(path: str | Path) -> NDArray[np.int64]:
    """Reads a label map of one 2D image from PNG, NIfTI, NRRD or DICOM; the content decides, not the extension.

    NIfTI and NRRD files hold columns first and may have a trailing axis of length 1; they are turned upright by the
    rule of NIfTI images, see `read_nifti_values`.

    Args:
        path: the file.

    Returns:
        int64 (H, W), 0 where nothing is drawn.

    Raises:
        FileNotFoundError: no such file.
        RadiographError: another kind of file, or a broken one.
        AnnotationError: a volume, color, several layers, negative or fractional numbers.
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
            path, "a label map is expected as PNG, NIfTI or NRRD", "have it saved without lossy compression"
        )
    return _as_whole_numbers(path, values)


def _read_png(path: str | Path) -> NDArray[Any]:
    with open_picture(path, ("PNG",)) as picture:
        if picture.mode not in _GRAY:
            raise _wrong(path, f"is a color picture (mode {picture.mode})", "export class numbers, not colors")
        try:
            ImageOps.exif_transpose(picture, in_place=True)
            return np.asarray(picture)
        except Exception as error:  # Pillow raises many kinds on a broken stream
            raise UnreadableFileError(path, "its picture does not decode", "export it again") from error


def _read_nrrd(path: str | Path) -> NDArray[Any]:
    """The header is read first: what it says is what ITK allocates.

    ITK's own choice of a reader would ask its DICOM reader too, which may not share a process with python-gdcm.
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
        raise UnreadableFileError(path, "its data do not decode", "export it again") from error
    return turn_upright(values.T, _axes_of(image))[0]


def _read_dicom(path: str | Path) -> NDArray[Any]:
    """What the server answers for a DICOM image, unless it is asked for another kind: plain numbers, uncompressed."""
    from pydicom import dcmread

    try:
        data = dcmread(path)
        rows, columns = int(data.Rows), int(data.Columns)
        check_pixels(path, rows, columns)
        return np.asarray(data.pixel_array).reshape(rows, columns)
    except RadiographError:
        raise
    except Exception as error:  # pydicom raises many kinds
        raise UnreadableFileError(path, "it does not decode as one plane of numbers", "save it as NIfTI") from error


def _check_plane(path: str | Path, sizes: Sequence[int], components: int) -> None:
    if len(sizes) < 2 or any(length != 1 for length in sizes[2:]) or components != 1:
        raise _wrong(
            path,
            f"has the shape {tuple(sizes)} with {components} numbers per pixel",
            "export one label map (X, Y) or (X, Y, 1) in which structures don't overlap",
        )
    check_pixels(path, sizes[1], sizes[0])


def _axes_of(image: Any) -> NDArray[np.float64]:
    """World vectors (3, 2), +x to the patient's left turned to right (RAS), of a step along X and Y."""
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
    """What was read, and is no label map: a wrong annotation, not a broken file."""
    return AnnotationError(f"{Path(path).name}: the label map {problem}; {remedy}.")
