"""The interface between the worker and inference, and the check of what inference returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from .case import Case, ResultObject
from .errors import WrongResultError

Infer: TypeAlias = Callable[[Path], Sequence[Path]]
"""Infers on the DICOM file in `folder/source`, writes into `folder/results`, and returns the DICOM objects to store.

The SOP Instance UIDs of the objects must be those of `uids.derived_uid`, so that a repeated inference, after the loss
of the worker's disk for example, yields the same objects. An image that is not suited to the model raises
`ImageRefusedError` or a `RadiographError`; any other error counts as an attempt of the case."""

Deidentify: TypeAlias = Callable[[Path], None]
"""Removes identifying attributes from a received or fetched image in place, before inference. A repeated call
must give the same result, because the step may be interrupted."""


def check_results(case: Case, source: Path, paths: Sequence[Path]) -> list[ResultObject]:
    """Checks that the objects of an inference belong to their source, before any of them is stored.

    Args:
        case: the case.
        source: the image.
        paths: the objects.

    Raises:
        WrongResultError: there are none, or one is not DICOM, belongs to another patient or study, does not reference
            the image, or has the UID of the image or of another object.
    """
    if not paths:
        raise WrongResultError("inference expects at least one DICOM object as result, got none.")
    results: list[ResultObject] = []
    image = _read_source(source)
    uid = str(image.get("SOPInstanceUID", ""))  # that of the case, unless the image was de-identified
    for path in paths:
        header = _read(path)
        for keyword in ("StudyInstanceUID", "PatientID"):
            if str(header.get(keyword, "")) != str(image.get(keyword, "")):
                raise WrongResultError(f"result {path.name} has another {keyword} than its source; it is not stored.")
        if not references(header, uid):
            raise WrongResultError(f"result {path.name} does not reference its source image; it is not stored.")
        uids = {str(header.get("SOPInstanceUID", "")), uid, case.source.uid, *(result.uid for result in results)}
        if len(uids) != len(results) + 1 + len({uid, case.source.uid}) or "" in uids:
            raise WrongResultError(f"result {path.name} has no SOP Instance UID of its own; it is not stored.")
        results.append(
            ResultObject(str(header.SOPInstanceUID), str(header.StudyInstanceUID), str(header.SOPClassUID), path)
        )
    return results


def references(header: Any, uid: str) -> bool:
    """Returns whether a pydicom Dataset contains a Referenced SOP Instance UID at any depth that equals `uid`."""
    return any(element.keyword == "ReferencedSOPInstanceUID" and element.value == uid for element in header.iterall())


def _read_source(path: Path) -> Any:
    """Reads UIDs and Patient ID with bounded memory."""
    from mtmedformer_monai.transforms.dicom.parse import read_header

    return read_header(path, with_pixels=False, more_tags=["PatientID"])


def _read(path: Path) -> Any:
    import pydicom

    try:
        return pydicom.dcmread(path, stop_before_pixels=True)
    except pydicom.errors.InvalidDicomError as error:
        raise WrongResultError(f"{path.name} is not a DICOM file.") from error
