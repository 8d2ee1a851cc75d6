"""Reads a radiograph of any kind of file into one contract."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .dicom.for_processing import ForProcessing
from .dicom.mammogram_rules import MammogramRules
from .dicom.read import MODALITIES, read_dicom
from .errors import UnreadableFileError
from .read_nifti import read_nifti
from .read_picture import read_picture

Kind = Literal["dicom", "picture", "nifti"]


def read_radiograph(
    path: str | Path,
    modalities: Collection[str] | Literal["any"] | None = MODALITIES,
    voi_index: int = 0,
    for_processing: ForProcessing = "render",
    rules: MammogramRules | Mapping[str, Any] | None = None,
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Reads one 2D radiograph from DICOM, PNG, JPEG or NIfTI; the content decides, not the extension.

    Args:
        path: a file, or a folder that holds one file (what a DICOMweb client leaves of a series of one image).
        modalities: DICOM modalities that are admitted; None or 'any' admits all.
        voi_index: which of a DICOM header's VOI LUTs or windows; 0 is the maker's default.
        for_processing: what becomes of FOR PROCESSING images, see `for_processing.py`.
        rules: for mammograms that are no standard ones; a dict of some of `MammogramRules`' attributes will do.

    Returns:
        float32 (H, W) in [0, 1], row 0 superior, column 0 the image's left, brighter is denser; and metadata, the keys
        of `keys.MetaKey`.

    Raises:
        FileNotFoundError: no such file.
        RadiographError: the file cannot or must not be read; see `errors.py` for its kinds.
    """
    file = find_single_file(path)
    kind = sniff(file)
    if kind == "picture":
        image, meta = read_picture(file)
    elif kind == "nifti":
        image, meta = read_nifti(file)
    else:
        admitted = None if modalities is None or modalities == "any" else modalities
        image, meta = read_dicom(file, admitted, voi_index, for_processing, rules)
    return np.ascontiguousarray(image), meta


def sniff(path: str | Path) -> Kind:
    """Tells what a file is by its first bytes.

    Raises:
        FileNotFoundError: no such file.
        UnreadableFileError: none of the kinds that are read.
    """
    with Path(path).open("rb") as stream:
        head = stream.read(352)
    if head[128:132] == b"DICM":
        return "dicom"
    if head.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")):
        return "picture"
    if head[:2] == b"\x1f\x8b" or head[344:348] in {b"n+1\0", b"ni1\0"} or head[4:8] == b"n+2\0":
        return "nifti"
    if head[:4] in {b"\x08\x00\x05\x00", b"\x08\x00\x08\x00", b"\x08\x00\x00\x00", b"\x02\x00\x00\x00"}:
        return "dicom"  # no preamble: the data set starts with group 0008 (or 0002)
    raise UnreadableFileError(
        path,
        "it is empty" if not head else "it is neither DICOM, PNG, JPEG nor NIfTI",
        "convert it to one of these, or leave it out",
    )


def find_single_file(path: str | Path) -> Path:
    """The path itself, or the only file of a folder.

    Raises:
        UnreadableFileError: a folder that holds no file, or several.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    files = [file for file in sorted(path.iterdir()) if file.is_file()]
    if len(files) != 1:
        raise UnreadableFileError(path, f"it is a folder of {len(files)} files", "name one file")
    return files[0]
