"""Reads a radiograph of any kind of file into one contract."""

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
    """Reads one 2D radiograph from DICOM, PNG, JPEG or NIfTI; the content decides, not the extension.

    Args:
        path: a file, or a folder that holds one file (what a DICOMweb client leaves of a series of one image).
        modalities: DICOM modalities that are admitted; None or 'any' admits all.
        voi_index: which of a DICOM header's VOI LUTs or windows; 0 is the maker's default.
        for_processing: what becomes of FOR PROCESSING images, see `for_processing.py`.
        rules: which kinds of images are admitted: `ChestRules`, `MammogramRules`, or a dict of some of the attributes
            of the latter.

    Returns:
        float32 (H, W) in [0, 1], row 0 superior, column 0 the image's left, brighter is denser; and metadata, the keys
        of `keys.MetaKey`.

    Raises:
        FileNotFoundError: no such file.
        RadiographError: the file cannot or must not be read; see `errors.py` for its kinds.
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
    """The path itself, or the only file of a folder.

    Raises:
        UnreadableFileError: a folder that holds no file, or several.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    files = [file for file in sorted(path.iterdir()) if file.is_file() and not file.name.startswith(".")]
    if len(files) != 1:
        raise UnreadableFileError(path, f"it is a folder of {len(files)} files", "name one file")
    return files[0]
