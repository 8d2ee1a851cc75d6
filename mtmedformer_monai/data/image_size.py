"""Tells the size of a radiograph or a mask, without decoding its pixels where its format allows."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from mtmedformer_monai.transforms.dicom.parse import read_header
from mtmedformer_monai.transforms.file_kind import sniff
from mtmedformer_monai.transforms.read_mask import read_npy_shape
from mtmedformer_monai.transforms.read_nifti import read_nifti_values

_EXIF_ORIENTATION = 0x0112
_TURNED = (5, 6, 7, 8)


def read_image_size(path: str | Path) -> tuple[int, int]:
    """Rows and columns (H, W), as the transforms load the file.

    Args:
        path: DICOM, PNG, JPEG, NIfTI, or .npy (masks). NIfTI is read whole: its affine decides what is a row.

    Raises:
        FileNotFoundError: no such file.
        OSError, ValueError: it cannot be read.
    """
    if Path(path).suffix == ".npy":
        return read_npy_shape(path)
    kind = sniff(path)
    if kind == "dicom":
        return _dicom_size(path)
    if kind == "nifti":
        values, _ = read_nifti_values(path)
        return int(values.shape[0]), int(values.shape[1])
    with Image.open(path) as picture:
        turned = picture.getexif().get(_EXIF_ORIENTATION) in _TURNED
        return (picture.width, picture.height) if turned else (picture.height, picture.width)


def _dicom_size(path: str | Path) -> tuple[int, int]:
    """DICOM PS3.3 C.7.6.3: Rows and Columns."""
    header = read_header(path, with_pixels=False)
    if not header.get("Rows") or not header.get("Columns"):
        raise ValueError("its DICOM header has no Rows and Columns; it holds no image.")
    return int(header.Rows), int(header.Columns)
