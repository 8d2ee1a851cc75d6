"""Writes Mammography CAD SR documents: the header around the content (DICOM PS3.3 A.35.5)."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from .content_items import code_sequence
from .mammography_cad import REPORT, CadImage, cad_content
from .patient_study import copy_patient_and_study, without_patient
from .results import ImageResult, Provenance, StudyResult
from .structured_report import MANUFACTURER, SERIES_DESCRIPTION, equipment, study_kind
from .uids import derived_uid, model_sha256

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
    document = _new_document(sources, provenance)
    document.ContentSequence = cad_content(images, provenance)
    document.CurrentRequestedProcedureEvidenceSequence = _evidence(sources)
    copy_patient_and_study(images[0].header, document)
    return document


def _mammograms(results: Sequence[ImageResult], headers: Sequence[Dataset]) -> list[CadImage]:
    pairs = [(each, header) for each, header in zip(results, headers, strict=True) if each.modality == "MG"]
    return [CadImage(result, header, position) for position, (result, header) in enumerate(pairs, start=1)]


def _new_document(sources: Sequence[Dataset], provenance: Provenance) -> Dataset:
    """A document without patient, study and content items: series, equipment, general SR (C.17.1, C.17.2), root."""
    model, study_uid = model_sha256(provenance), str(sources[0].StudyInstanceUID)
    document, now = Dataset(), datetime.datetime.now()
    document.SOPClassUID = MAMMOGRAPHY_CAD_SR
    document.SOPInstanceUID = derived_uid(study_uid, study_kind("mammography CAD SR", sources), model)
    document.Modality, document.SeriesNumber, document.InstanceNumber = "SR", SERIES_NUMBER, 1
    document.SeriesInstanceUID = derived_uid(study_uid, "mammography CAD SR series", model)
    document.SeriesDescription = SERIES_DESCRIPTION
    document.ReferencedPerformedProcedureStepSequence = []
    made = equipment(provenance)
    document.Manufacturer, document.ManufacturerModelName = MANUFACTURER, made["manufacturer_model_name"]
    document.DeviceSerialNumber, document.SoftwareVersions = made["device_serial_number"], made["software_versions"]
    document.CompletionFlag, document.VerificationFlag, document.PreliminaryFlag = (
        "COMPLETE",
        "UNVERIFIED",
        "PRELIMINARY",
    )
    document.InstanceCreationDate = document.ContentDate = now.strftime("%Y%m%d")
    document.InstanceCreationTime = document.ContentTime = now.strftime("%H%M%S")
    document.PerformedProcedureCodeSequence = []
    document.ValueType, document.ContinuityOfContent = "CONTAINER", "SEPARATE"
    document.ConceptNameCodeSequence = code_sequence(REPORT)
    document.ContentTemplateSequence = [_template()]
    document.file_meta = FileMetaDataset()
    document.file_meta.MediaStorageSOPClassUID = document.SOPClassUID
    document.file_meta.MediaStorageSOPInstanceUID = document.SOPInstanceUID
    document.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return document


def _template() -> Dataset:
    template = Dataset()
    template.MappingResource, template.TemplateIdentifier = "DCMR", "4000"
    return template


def _evidence(sources: Sequence[Dataset]) -> list[Dataset]:
    """The Current Requested Procedure Evidence Sequence (C.17.2.3): the images by study and series."""
    study = Dataset()
    study.StudyInstanceUID = sources[0].StudyInstanceUID
    study.ReferencedSeriesSequence = []
    for uid in dict.fromkeys(str(source.SeriesInstanceUID) for source in sources):
        series = Dataset()
        series.SeriesInstanceUID = uid
        series.ReferencedSOPSequence = [
            _reference(source) for source in sources if str(source.SeriesInstanceUID) == uid
        ]
        study.ReferencedSeriesSequence.append(series)
    return [study]


def _reference(source: Dataset) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
    return reference
