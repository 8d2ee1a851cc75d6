"""What the SR documents have in common: series, equipment, general information and references (DICOM PS3.3 A.35)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydicom.charset import convert_encodings, default_encoding
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian

from mtmedformer_monai.deploy.headers.coded_names import ascii_text
from mtmedformer_monai.deploy.headers.equipment import MANUFACTURER
from mtmedformer_monai.deploy.results import Provenance
from mtmedformer_monai.keys import NOTICE

from .content_items import code_sequence, content_template

SERIES_DESCRIPTION = "AI results (research use only)"


@dataclass(frozen=True)
class DocumentIdentity:
    """What kind of document it is, and its identifiers.

    Attributes:
        sop_class_uid: SOP Class UID.
        template: number of the root's template in PS3.16.
        title: concept name of the root.
        sop_instance_uid: SOP Instance UID.
        series_instance_uid: Series Instance UID.
        series_number: Series Number.
        instance_number: Instance Number.
    """

    sop_class_uid: str
    template: str
    title: Code
    sop_instance_uid: str
    series_instance_uid: str
    series_number: int
    instance_number: int = 1


def new_document(identity: DocumentIdentity, evidence: Sequence[Dataset], provenance: Provenance) -> Dataset:
    """Returns a document without patient, study, time of creation and content items.

    Args:
        identity: what kind of document it is, and its identifiers.
        evidence: UIDs of all objects that the content refers to, which belong to one study.
        provenance: what produced the results.
    """
    document = Dataset()
    document.SOPClassUID, document.SOPInstanceUID = identity.sop_class_uid, identity.sop_instance_uid
    document.Modality, document.SeriesNumber = "SR", identity.series_number
    document.InstanceNumber, document.SeriesInstanceUID = identity.instance_number, identity.series_instance_uid
    document.SeriesDescription = SERIES_DESCRIPTION
    document.ReferencedPerformedProcedureStepSequence = []
    made = equipment(provenance)
    document.Manufacturer, document.ManufacturerModelName = MANUFACTURER, made["manufacturer_model_name"]
    document.DeviceSerialNumber, document.SoftwareVersions = made["device_serial_number"], made["software_versions"]
    document.CompletionFlag, document.VerificationFlag = "COMPLETE", "UNVERIFIED"
    document.PreliminaryFlag = "PRELIMINARY"
    document.PerformedProcedureCodeSequence = []
    document.CurrentRequestedProcedureEvidenceSequence = [_evidence(evidence)]
    document.ValueType, document.ContinuityOfContent = "CONTAINER", "SEPARATE"
    document.ConceptNameCodeSequence = code_sequence(identity.title)
    document.ContentTemplateSequence = [content_template(identity.template)]
    document.file_meta = FileMetaDataset()
    document.file_meta.MediaStorageSOPClassUID = document.SOPClassUID
    document.file_meta.MediaStorageSOPInstanceUID = document.SOPInstanceUID
    document.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return document


def keep_encoded(document: Dataset) -> None:
    """Lets pydicom write the encoded sequences of a complete document as they are, in Explicit VR Little Endian."""
    given = document.get("SpecificCharacterSet")
    document.set_original_encoding(False, True, convert_encodings(given) if given else default_encoding)


def equipment(provenance: Provenance) -> dict[str, str]:
    """Returns model, serial number and version of the equipment (PS3.3 C.7.5.2) as arguments of highdicom."""
    return {
        "manufacturer_model_name": ascii_text(provenance.bundle_name)[:64],
        "device_serial_number": provenance.weights_sha256[:64],
        "software_versions": ascii_text(provenance.bundle_version)[:64],
    }


def algorithm_parameters(provenance: Provenance) -> tuple[str, ...]:
    """Returns the hashes of bundle and weights, and the notice."""
    return (
        f"bundle SHA-256: {provenance.bundle_sha256}",
        f"weights SHA-256: {provenance.weights_sha256}",
        NOTICE,
    )


def study_kind(kind: str, sources: Sequence[Dataset]) -> str:
    """Returns the kind of an object about several images: with more images, it is another object."""
    return "|".join([kind, *sorted(str(source.SOPInstanceUID) for source in sources)])


def _evidence(objects: Sequence[Dataset]) -> Dataset:
    """The item of the Current Requested Procedure Evidence Sequence (C.17.2.3): the objects by study and series."""
    study = Dataset()
    study.ReferencedSeriesSequence = list(_series(objects))
    study.StudyInstanceUID = objects[0].StudyInstanceUID
    return study


def _series(objects: Sequence[Dataset]) -> Iterator[Dataset]:
    for uid in dict.fromkeys(str(each.SeriesInstanceUID) for each in objects):
        series = Dataset()
        series.ReferencedSOPSequence = [_reference(each) for each in objects if str(each.SeriesInstanceUID) == uid]
        series.SeriesInstanceUID = uid
        yield series


def _reference(given: Dataset) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = given.SOPClassUID, given.SOPInstanceUID
    return reference
