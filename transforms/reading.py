"""Reads a radiograph from any supported file type into a common representation."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mtmedformer_monai.keys import MetaKey

from .dicom.admission import AdmissionRules, admit
from .dicom.for_processing import ForProcessing
from .dicom.mammogram_rules import as_rules
from .dicom.read import MODALITIES, read_dicom
from .errors import UnreadableFileError
from .file_kind import Kind as Kind
from .file_kind import sniff as sniff
from .read_nifti import read_nifti
from .read_picture import read_picture


def read_radiograph(
    path: str | Path,
    modalities: Collection[str] | Literal["any"] | None = MODALITIES,
    voi_index: int = 0,
    for_processing: ForProcessing = "render",
    rules: AdmissionRules | Mapping[str, Any] | None = None,
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Reads one 2D radiograph from DICOM, PNG, JPEG or NIfTI; the type is detected from the content.

    Args:
        path: a file, or a folder that contains one file (as a DICOMweb client stores a series of one image).
        modalities: admitted DICOM modalities; None or 'any' admits all.
        voi_index: index of the VOI LUT or window in the DICOM header; 0 is the manufacturer's default.
        for_processing: how FOR PROCESSING images are handled; see `for_processing.py`.
        rules: which kinds of images are admitted: `ChestRules`, `MammogramRules`, or a dict of attributes of the
            latter.

    Returns:
        The image, float32 (H, W) in [0, 1], where row 0 is superior, column 0 is the left of the image, and brighter is
        denser; and its metadata, with the keys of `keys.MetaKey`.

    Raises:
        FileNotFoundError: the file does not exist.
        RadiographError: the file cannot be read, or it is refused; see `errors.py` for the subclasses.
    """
    file = find_single_file(path)
    kind = sniff(file)
    if kind == "dicom":
        admitted = None if modalities is None or modalities == "any" else modalities
        image, meta = read_dicom(file, admitted, voi_index, for_processing, rules)
    else:
        flags = admit(file, None, as_rules(rules))
        image, meta = read_picture(file) if kind == "picture" else read_nifti(file)
        meta[MetaKey.FLAGS] = flags
    return np.ascontiguousarray(image), meta


def find_single_file(path: str | Path) -> Path:
    """Returns the path itself, or the only file in a folder.

    Raises:
        UnreadableFileError: the folder contains no file or several files.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    files = [file for file in sorted(path.iterdir()) if file.is_file() and not file.name.startswith(".")]
    if len(files) != 1:
        raise UnreadableFileError(path, f"it is a folder of {len(files)} files", "name one file")
    return files[0]
