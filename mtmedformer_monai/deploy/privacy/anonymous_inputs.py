"""Replaces the names of files and folders, and the UIDs, of the inputs of a run that is de-identified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mtmedformer_monai.deploy.inputs import InputFile, StudyInput
from mtmedformer_monai.deploy.output_paths import inside, study_folder
from mtmedformer_monai.deploy.results import Refusal
from mtmedformer_monai.transforms.errors import RadiographError
from mtmedformer_monai.transforms.reading import sniff

from .deidentify import Deidentifier

_SUFFIXES = frozenset({".dcm", ".png", ".jpg", ".jpeg", ".nii", ".gz"})
FOLDER = "images"
"""Folder of the de-identified copies in a study's folder."""


def rename_inputs(
    studies: Sequence[StudyInput], refused: Sequence[Refusal], deidentifier: Deidentifier
) -> tuple[tuple[StudyInput, ...], tuple[Refusal, ...]]:
    """Numbers the files of a run, and replaces the UIDs of studies.

    The numbers are in the order of the paths as they were given, so whoever has the files can find one by its number.
    Each file has a number of its own, also if two inputs contain files of one relative path.

    Args:
        studies: studies by `find_inputs`.
        refused: files that it refused.
        deidentifier: pseudonyms of UIDs.
    """
    files = [(file.source, _key(file)) for study in studies for file in study.files]
    entries = sorted(files + [(each.source, _refused_key(number)) for number, each in enumerate(refused)])
    names = {key: f"image_{number:06}{_suffix(source)}" for number, (source, key) in enumerate(entries, 1)}
    renamed = tuple(_rename(study, names, deidentifier) for study in studies)
    return renamed, tuple(
        replace(each, source=names[_refused_key(number)], reason=_reason(each)) for number, each in enumerate(refused)
    )


def _key(file: InputFile) -> str:
    return f"file {file.path}"


def _refused_key(number: int) -> str:
    return f"refused {number:06}"


def _reason(refusal: Refusal) -> str:
    """Returns the reason without the name of another file, which that of a duplicate contains."""
    if refusal.rule == "duplicate":
        return "it has the same SOP Instance UID as another file; keep one of them."
    return refusal.reason


def _suffix(source: str) -> str:
    suffix = Path(source).suffix.lower()
    return suffix if suffix in _SUFFIXES else ""


def _rename(study: StudyInput, names: dict[str, str], deidentifier: Deidentifier) -> StudyInput:
    files = tuple(
        replace(
            file,
            source=names[_key(file)],
            alias=names[_key(file)].partition(".")[0],
            sop_instance_uid=deidentifier.uid(file.sop_instance_uid),
            study_instance_uid=deidentifier.uid(file.study_instance_uid),
        )
        for file in study.files
    )
    uid = files[0].study_instance_uid
    return StudyInput(uid, study_folder(uid, files[0].alias), files)


def copy_input(file: InputFile, folder: Path, deidentifier: Deidentifier) -> tuple[InputFile, bool]:
    """Writes the de-identified copy of a DICOM file to a study's folder; pictures have no header and stay.

    Args:
        file: the file, with its new name.
        folder: output folder of its study.
        deidentifier: pseudonyms.

    Returns:
        The file to process, and whether its header states that no text is burned into its pixels.

    Raises:
        RadiographError: see `Deidentifier.write_copy`.
        OSError: the copy cannot be written.
    """
    try:
        is_dicom = sniff(file.path) == "dicom"
    except RadiographError:
        is_dicom = False
    if not is_dicom:
        return file, False
    path = inside(folder, f"{FOLDER}/{file.alias}.dcm")
    return replace(file, path=path), deidentifier.write_copy(file.path, path)
