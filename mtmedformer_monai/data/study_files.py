"""Finds what there is to infer on, with what fusing views needs: which images share a study, and what they show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mtmedformer_monai.keys import IMAGE, LATERALITY, STUDY_ID, VIEW
from mtmedformer_monai.transforms.dicom.header import VIEW_TAGS, read_laterality, read_view

from .image_files import find_images

_TAGS = [*VIEW_TAGS, "PatientOrientation", "StudyInstanceUID"]


def find_studies(source: str | Path | Sequence[str | Path]) -> list[dict[str, str]]:
    """Lists images as a datalist without annotations, with study, laterality and view.

    DICOM files share a study by StudyInstanceUID (PS3.3 C.7.2.1); other files, and those whose header can't be read, by
    the folder that they lie in, and the image itself has to tell its view.

    Args:
        source: as of `find_images`.

    Returns:
        Items `{"image", "study_id", "laterality", "view"}`, the latter two where the header knows them.

    Raises:
        FileNotFoundError: as of `find_images`.
    """
    return [_item(Path(found[IMAGE])) for found in find_images(source)]


def read_view_of_file(path: Path) -> tuple[str, str]:
    """Laterality and view in a file's header, '' where it does not say, or is no DICOM header."""
    header = _read_header(path)
    return read_laterality(header), read_view(header)


def _item(path: Path) -> dict[str, str]:
    header = _read_header(path)
    known = {LATERALITY: read_laterality(header), VIEW: read_view(header)}
    study = str(header.get("StudyInstanceUID") or "") or path.parent.name
    return {IMAGE: str(path), STUDY_ID: study} | {key: value for key, value in known.items() if value}


def _read_header(path: Path) -> Any:
    """The tags that are asked for; nothing of a file that is no DICOM, or broken: the reader will say so."""
    import pydicom

    try:
        return pydicom.dcmread(path, specific_tags=_TAGS, stop_before_pixels=True)
    except Exception:  # a broken header raises anything; the reader names the problem of the file later
        return {}
