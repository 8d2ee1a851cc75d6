"""Writes Mammography CAD SR documents: the header around the content (DICOM PS3.3 A.35.5)."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset

from mtmedformer_monai.deploy.headers.creation_time import set_creation_time
from mtmedformer_monai.deploy.headers.patient_study import copy_patient_and_study, without_patient
from mtmedformer_monai.deploy.headers.uids import derived_uid, model_sha256
from mtmedformer_monai.deploy.results import ImageResult, Provenance, StudyResult

from .mammography_cad import REPORT, CadImage, cad_content
from .sr_document import DocumentIdentity, keep_encoded, new_document, study_kind

MAMMOGRAPHY_CAD_SR = "1.2.840.10008.5.1.4.1.1.88.50"
SERIES_NUMBER = 9102


def mammography_cad_report(study: StudyResult, headers: Sequence[Dataset], provenance: Provenance) -> Dataset:
    """Returns the Mammography CAD SR of a study's mammograms; other images of the study are left out.

    Args:
        study: results of the study.
        headers: headers of the sources, in the order of `study.images`.
        provenance: what produced the results.

    Raises:
        ValueError: the study has no mammogram, or the header of one has no UIDs.
    """
    images = list(_mammograms(study.images, headers))
    if not images:
        raise ValueError("study expects at least one mammogram (MG), got none; write the measurement report instead.")
    sources = [without_patient(image.header) for image in images]
    document = _new_document(sources, provenance, study.num_refused)
    document.ContentSequence = cad_content(images, provenance, study.num_refused)
    copy_patient_and_study(images[0].header, document)
    set_creation_time(images[0].header, document, "Content")
    keep_encoded(document)
    return document


def _mammograms(results: Sequence[ImageResult], headers: Sequence[Dataset]) -> list[CadImage]:
    pairs = [(each, header) for each, header in zip(results, headers, strict=True) if each.modality == "MG"]
    return [CadImage(result, header, position) for position, (result, header) in enumerate(pairs, start=1)]


def _new_document(sources: Sequence[Dataset], provenance: Provenance, num_refused: int) -> Dataset:
    model, study_uid = model_sha256(provenance), str(sources[0].StudyInstanceUID)
    kind = study_kind("mammography CAD SR", sources) + (f" without {num_refused}" if num_refused else "")
    identity = DocumentIdentity(
        MAMMOGRAPHY_CAD_SR,
        "4000",
        REPORT,
        derived_uid(study_uid, kind, model),
        derived_uid(study_uid, "mammography CAD SR series", model),
        SERIES_NUMBER,
    )
    return new_document(identity, sources, provenance)
