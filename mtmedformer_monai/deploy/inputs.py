"""Finds the images of a run and groups them by study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import TypeAlias

from mtmedformer_monai.data import find_images
from mtmedformer_monai.deploy.headers.quiet import quiet_libraries
from mtmedformer_monai.engines.postprocessing.output_names import absolute, relative_to_given
from mtmedformer_monai.keys import IMAGE
from mtmedformer_monai.transforms.dicom.header import read_uids
from mtmedformer_monai.transforms.dicom.parse import read_header
from mtmedformer_monai.transforms.errors import RadiographError
from mtmedformer_monai.transforms.reading import sniff

from .output_paths import study_folder
from .results import Refusal

_NUM_THREADS = 8

_PATIENT = ("PatientID", "IssuerOfPatientID")
_Patient: TypeAlias = tuple[str, str]
"""Values of `_PATIENT`, '' if unknown; compared while inputs are found, and kept nowhere."""


@dataclass(frozen=True)
class InputFile:
    """One file of the input.

    Attributes:
        path: absolute path.
        source: path relative to the input that was given, as in the results.
        sop_instance_uid: SOP Instance UID, or ''.
        study_instance_uid: Study Instance UID, or ''.
        alias: name that stands for the path in the names of outputs; '' for the file's own name.
    """

    path: Path
    source: str
    sop_instance_uid: str = ""
    study_instance_uid: str = ""
    alias: str = ""


@dataclass(frozen=True)
class StudyInput:
    """The files of one study, and the name of its output folder."""

    study_instance_uid: str
    folder: str
    files: tuple[InputFile, ...]


def find_inputs(
    given: Sequence[str | Path], output: str | Path | None = None, named: bool = True
) -> tuple[tuple[StudyInput, ...], tuple[Refusal, ...]]:
    """Finds DICOM, PNG, JPEG and NIfTI files, and groups them by Study Instance UID.

    A file without that UID is a study of its own. The images of a study that has several patients, by Patient ID and
    Issuer of Patient ID, are refused: documents about the study would mix them. Files in the output folder are ignored
    if a folder above it is searched, so that a second run does not process the results of the first.

    Args:
        given: files, and folders that are searched recursively.
        output: output folder of the run.
        named: whether warnings name folders and files; see `find_images`.

    Returns:
        The studies in the order of their first file, and the files that cannot be parsed, were given twice, or belong
        to a study of several patients.

    Raises:
        FileNotFoundError: a path does not exist, or no image was found.
    """
    paths = list(dict.fromkeys(path for part in given for path in _find(Path(part), output, named)))
    if not paths:
        raise FileNotFoundError("no image outside the output folder; choose another --input or --output.")
    with quiet_libraries(), ThreadPool(_NUM_THREADS) as pool:
        found = pool.map(lambda path: _examine(path, given), paths)
    patients = dict(each for each in found if not isinstance(each, Refusal))
    refused = [each for each in found if isinstance(each, Refusal)]
    unique, repeated = _drop_repeated(list(patients))
    studies, mixed = _refuse_mixed(_group(unique), patients)
    return studies, (*refused, *repeated, *mixed)


def _find(part: Path, output: str | Path | None, named: bool) -> list[Path]:
    found = [Path(absolute(item[IMAGE])) for item in find_images(part, named)]
    if output is None or part.is_file():
        return found
    searched, results = Path(absolute(part)), Path(absolute(output))
    if searched != results and searched not in results.parents:
        return found
    return [path for path in found if results not in path.parents]


def _examine(path: Path, given: Sequence[str | Path]) -> tuple[InputFile, _Patient] | Refusal:
    """Returns the file with its UIDs, and its patient; or why its header cannot be read."""
    source = relative_to_given(path, given)[1]
    try:
        if sniff(path) != "dicom":
            return InputFile(path, source), ("", "")
        header = read_header(path, with_pixels=False, more_tags=_PATIENT)
    except (RadiographError, OSError) as error:
        return Refusal(source, describe_error(error), type(error).__name__)
    sop, _, study = read_uids(header)
    identifier, issuer = (str(header.get(keyword) or "").strip() for keyword in _PATIENT)
    return InputFile(path, source, sop, study), (identifier, issuer)


def describe_error(error: BaseException) -> str:
    """Returns the message of an expected error without folder and file name, which may contain the patient's name.

    The messages of other errors may contain values of the header.

    Example:
        >>> describe_error(TypeError("Doe^Jane"))
        'an unexpected error (TypeError); report it with the output of mtmedformer --verbose infer.'
    """
    if isinstance(error, RadiographError):
        return f"{error.advice}."
    if isinstance(error, OSError):
        return f"it cannot be read ({error.strerror or type(error).__name__}); check the file and its permissions."
    if isinstance(error, MemoryError):
        return "the memory is not sufficient; run it with fewer --workers or on a larger machine."
    return f"an unexpected error ({type(error).__name__}); report it with the output of mtmedformer --verbose infer."


def _drop_repeated(files: Sequence[InputFile]) -> tuple[list[InputFile], list[Refusal]]:
    """Keeps the first of several files with the same SOP Instance UID, which identifies one image (PS3.3 C.12.1)."""
    first: dict[str, InputFile] = {}
    unique, repeated = [], []
    for file in files:
        known = first.setdefault(file.sop_instance_uid or str(file.path), file)
        if known is file:
            unique.append(file)
        else:
            reason = f"it has the same SOP Instance UID as {known.source}; keep one of them."
            repeated.append(Refusal(file.source, reason, "duplicate"))
    return unique, repeated


def _group(files: Sequence[InputFile]) -> tuple[StudyInput, ...]:
    groups: dict[str, list[InputFile]] = {}
    for file in files:
        folder = study_folder(file.study_instance_uid, str(file.path))
        groups.setdefault(folder, []).append(file)
    return tuple(StudyInput(found[0].study_instance_uid, folder, tuple(found)) for folder, found in groups.items())


def _refuse_mixed(
    studies: Sequence[StudyInput], patients: Mapping[InputFile, _Patient]
) -> tuple[tuple[StudyInput, ...], list[Refusal]]:
    """Returns the studies of one patient, and refuses the images of others.

    A Study Instance UID identifies one study of one patient (PS3.3 C.7.2.1). An image whose patient or issuer is
    unknown contradicts no other.
    """
    kept, mixed = [], []
    for study in studies:
        identifiers, issuers = (
            {*values} - {""} for values in zip(*(patients[file] for file in study.files), strict=True)
        )
        if len(identifiers) > 1 or len(issuers) > 1:
            reason = "its study has images of several patients; correct the Study Instance UID or the Patient ID."
            mixed += [Refusal(file.source, reason, "patient") for file in study.files]
        else:
            kept.append(study)
    return tuple(kept), mixed
