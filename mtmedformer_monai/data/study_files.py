"""Finds the images for inference on studies, with their study, laterality and view."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mtmedformer_monai.keys import IMAGE, LATERALITY, STUDY_ID, VIEW
from mtmedformer_monai.transforms.dicom.code_strings import read_code
from mtmedformer_monai.transforms.dicom.header import read_laterality, read_view
from mtmedformer_monai.transforms.errors import RadiographError

from .image_files import find_images


def find_studies(source: str | Path | Sequence[str | Path]) -> list[dict[str, str]]:
    """Returns the images as datalist items without annotations, with study, laterality and view.

    DICOM files are grouped by StudyInstanceUID (PS3.3 C.7.2.1). Other files, and files whose header cannot be read, are
    grouped by folder, and their view is unknown. Such a study is named after its folder, with as many parent folders as
    needed to make the name unique.

    Args:
        source: see `find_images`.

    Returns:
        Items `{"image", "study_id", "laterality", "view"}`; the latter two only if the header specifies them.

    Raises:
        FileNotFoundError: see `find_images`.
    """
    paths = [Path(found[IMAGE]) for found in find_images(source)]
    names = name_folders({path.parent for path in paths})
    return [_item(path, names[path.parent]) for path in paths]


def read_view_of_file(path: Path) -> tuple[str, str]:
    """Returns laterality and view from a file's DICOM header; '' if missing, or if the file is not DICOM."""
    header = _read_header(path)
    return read_laterality(header), read_view(header)


def name_folders(folders: Iterable[Path]) -> dict[Path, str]:
    """Returns a unique name for each folder: its own name, preceded by parent folders where names are ambiguous.

    Example:
        >>> sorted(name_folders([Path("x/anna"), Path("y/anna"), Path("y/berta")]).values())
        ['berta', 'x/anna', 'y/anna']
    """
    whole = {folder: Path(os.path.abspath(folder)).parts for folder in folders}  # noqa: PTH100 - does not resolve links
    depths = dict.fromkeys(whole, 1)
    while True:
        names = {folder: "/".join(parts[-depths[folder] :]) for folder, parts in whole.items()}
        counts = Counter(names.values())
        short = [f for f, name in names.items() if counts[name] > 1 and depths[f] < len(whole[f])]
        if not short:
            return names
        for folder in short:
            depths[folder] += 1


def _item(path: Path, folder: str) -> dict[str, str]:
    header = _read_header(path)
    known = {LATERALITY: read_laterality(header), VIEW: read_view(header)}
    study = read_code(header, "StudyInstanceUID") or folder
    return {IMAGE: str(path), STUDY_ID: study} | {key: value for key, value in known.items() if value}


def _read_header(path: Path) -> Any:
    """Returns the header; empty for files that are not DICOM, or damaged, which the image reader reports later."""
    from mtmedformer_monai.transforms.dicom.parse import read_header
    from mtmedformer_monai.transforms.file_kind import sniff

    try:
        return read_header(path, with_pixels=False, more_tags=["StudyInstanceUID"]) if sniff(path) == "dicom" else {}
    except (RadiographError, OSError):
        return {}
