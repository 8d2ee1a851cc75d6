"""Writes the DICOM reports of images and studies to the output folder; see `results.ImageWriter` and `StudyWriter`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mtmedformer_monai.io.atomic_files import write_atomically

from .results import ImageResult, ImageSource, Provenance, StudyResult
from .study_fusion import fused_views


def write_image_report(
    result: ImageResult, source: ImageSource, provenance: Provenance, folder: Path
) -> Mapping[str, str]:
    """Writes `<name>_sr.dcm`, a Comprehensive 3D SR; masks refer to the SEG that `result.files` names, if any.

    Returns:
        {'sr': file name}; empty if the source is not DICOM or lacks a UID, or if there is nothing to report.
    """
    from mtmedformer_monai.deploy.sr.structured_report import image_report

    if not (result.segmentations or result.boxes or result.classes):
        return {}
    return _write(
        "sr", f"{result.name}_sr.dcm", [source], folder,
        lambda header: image_report(result, header, provenance, _read_segmentation(result, folder)),
    )  # fmt: skip


def write_presentation_state(
    result: ImageResult, source: ImageSource, provenance: Provenance, folder: Path
) -> Mapping[str, str]:
    """Writes `<name>_gsps.dcm`, a Grayscale Softcopy Presentation State.

    Returns:
        {'gsps': file name}; empty if the source is not DICOM, lacks a UID, or is a color image.
    """
    from mtmedformer_monai.deploy.presentation.presentation_state import presentation_state

    if source.header is None or source.header.get("SamplesPerPixel", 1) != 1:
        return {}
    masks = source.maps.masks if source.maps is not None else {}
    return _write(
        "gsps", f"{result.name}_gsps.dcm", [source], folder,
        lambda header: presentation_state(result, masks, header, provenance),
    )  # fmt: skip


def write_study_report(
    study: StudyResult, sources: Sequence[ImageSource], provenance: Provenance, folder: Path
) -> Mapping[str, str]:
    """Writes `study_sr.dcm`, a Comprehensive 3D SR of the classifications that were fused from several images.

    It refers to the images that were used, each breast to its own.

    Returns:
        {'sr': file name}; empty if there are none, or a source is not DICOM or lacks a UID.
    """
    from mtmedformer_monai.deploy.sr.structured_report import study_report

    used = fused_views(study.images)
    if not any(study.classes.values()) or not used:
        return {}
    return _write(
        "sr", "study_sr.dcm", [sources[index] for index in used.values()], folder,
        lambda *headers: study_report(study.classes, dict(zip(used, headers, strict=True)), provenance),
    )  # fmt: skip


def write_mammography_cad(
    study: StudyResult, sources: Sequence[ImageSource], provenance: Provenance, folder: Path
) -> Mapping[str, str]:
    """Writes `study_cad_sr.dcm`, the Mammography CAD SR of the study's mammograms.

    Returns:
        {'cad_sr': file name}; empty if there is no mammogram, if nothing that the document could contain was looked for
        (boxes, breast density), as it would read as a negative result, or if a source is not DICOM or lacks a UID.
    """
    from mtmedformer_monai.deploy.headers.coded_names import BREAST_DENSITY
    from mtmedformer_monai.deploy.sr.mammography_cad_report import mammography_cad_report

    mammograms = [image for image in study.images if image.modality == "MG"]
    if not any(image.boxes or BREAST_DENSITY in image.classes for image in mammograms):
        return {}
    return _write(
        "cad_sr", "study_cad_sr.dcm", sources, folder,
        lambda *headers: mammography_cad_report(study, headers, provenance),
    )  # fmt: skip


def _write(
    kind: str, name: str, sources: Sequence[ImageSource], folder: Path, make: Callable[..., Any]
) -> Mapping[str, str]:
    """Builds an object from the sources' headers, and writes it atomically."""
    from mtmedformer_monai.deploy.headers.patient_study import REQUIRED_UIDS

    headers = [source.header for source in sources]
    if any(header is None or not all(header.get(uid) for uid in REQUIRED_UIDS) for header in headers):
        return {}
    with warnings.catch_warnings():  # pydicom's warnings contain header values
        warnings.simplefilter("ignore")
        document = make(*headers)
        write_atomically(folder / name, lambda file: document.save_as(file, enforce_file_format=True))
    return {kind: name}


def _read_segmentation(result: ImageResult, folder: Path) -> Any | None:
    """Reads the SEG of an image without its pixels, or returns None."""
    from pydicom import dcmread

    name = result.files.get("seg")
    return None if name is None else dcmread(folder / name, stop_before_pixels=True)
