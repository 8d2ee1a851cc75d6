"""Finds what there is to infer on, with what fusing views needs: which images share a study, and what they show."""

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
    """Lists images as a datalist without annotations, with study, laterality and view.

    DICOM files share a study by StudyInstanceUID (PS3.3 C.7.2.1); other files, and those whose header can't be read, by
    the folder that they lie in, and the image itself has to tell its view. Such a study is called by the folder's
    name, by as many of the folders above it as tell it from its namesakes.

    Args:
        source: as of `find_images`.

    Returns:
        Items `{"image", "study_id", "laterality", "view"}`, the latter two where the header knows them.

    Raises:
        FileNotFoundError: as of `find_images`.
    """
    paths = [Path(found[IMAGE]) for found in find_images(source)]
    names = name_folders({path.parent for path in paths})
    return [_item(path, names[path.parent]) for path in paths]


def read_view_of_file(path: Path) -> tuple[str, str]:
    """Laterality and view in a file's header, '' where it does not say, or is no DICOM header."""
    header = _read_header(path)
    return read_laterality(header), read_view(header)


def name_folders(folders: Iterable[Path]) -> dict[Path, str]:
    """Each folder's name, longer by the folders above it where several have it.

    Example:
        >>> sorted(name_folders([Path("x/anna"), Path("y/anna"), Path("y/berta")]).values())
        ['berta', 'x/anna', 'y/anna']
    """
    whole = {folder: Path(os.path.abspath(folder)).parts for folder in folders}  # noqa: PTH100 - links stay
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
    """The header; nothing of a file that is no DICOM, or broken: the reader will say so."""
    from mtmedformer_monai.transforms.dicom.parse import read_header
    from mtmedformer_monai.transforms.file_kind import sniff

    try:
        return read_header(path, with_pixels=False, more_tags=["StudyInstanceUID"]) if sniff(path) == "dicom" else {}
    except (RadiographError, OSError):
        return {}
