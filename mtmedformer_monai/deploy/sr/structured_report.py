"""Writes Comprehensive 3D SR documents by TID 1500, Measurement Report (DICOM PS3.3 A.35.13, PS3.16 TID 1500).

The regions of a projection image are two-dimensional (SCOORD): without a frame of reference, there is no position in
three dimensions. Comprehensive 3D SR allows both kinds, and IHE's profile AI Results requires this SOP class.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

from mtmedformer_monai.deploy.headers.coded_names import ascii_text, coding_scheme
from mtmedformer_monai.deploy.headers.creation_time import set_creation_time
from mtmedformer_monai.deploy.headers.equipment import MANUFACTURER
from mtmedformer_monai.deploy.headers.patient_study import copy_patient_and_study, instance_number, without_patient
from mtmedformer_monai.deploy.headers.uids import derived_uid, model_sha256
from mtmedformer_monai.deploy.results import ClassResult, ImageResult, Provenance
from mtmedformer_monai.keys import NOTICE

from . import concepts
from .content_items import (
    CONTAINS,
    HAS_CONCEPT_MOD,
    HAS_OBS_CONTEXT,
    code,
    container,
    image,
    text,
    uid_reference,
)
from .image_library import image_library
from .measurement_groups import (
    MEASUREMENT_GROUP,
    GroupBuilder,
    SegmentReference,
    class_evaluations,
    class_measurements,
    encode_algorithm,
    finding_site,
    tracking,
)
from .sr_document import DocumentIdentity, keep_encoded, new_document, study_kind

COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"
SERIES_NUMBER = 9101

REPORT = Code("126000", "DCM", "Imaging Measurement Report")
IMAGING_MEASUREMENTS = Code("126010", "DCM", "Imaging Measurements")
ENGLISH = Code("en-US", "RFC5646", "English (United States)")
PROCEDURE_REPORTED = Code("121058", "DCM", "Procedure reported")
OBSERVER_TYPE, DEVICE = Code("121005", "DCM", "Observer Type"), Code("121007", "DCM", "Device")
DEVICE_UID = Code("121012", "DCM", "Device Observer UID")
DEVICE_NAME = Code("121013", "DCM", "Device Observer Name")
DEVICE_MANUFACTURER = Code("121014", "DCM", "Device Observer Manufacturer")
DEVICE_MODEL = Code("121015", "DCM", "Device Observer Model Name")
DEVICE_SERIAL = Code("121016", "DCM", "Device Observer Serial Number")
SOURCE_OF_MEASUREMENT = Code("121112", "DCM", "Source of Measurement")


def image_report(
    result: ImageResult,
    header: Dataset,
    provenance: Provenance,
    segmentation: Dataset | None = None,
) -> Dataset:
    """Returns the report of one image.

    Args:
        result: results of the image.
        header: header of the source.
        provenance: what produced the results.
        segmentation: the image's DICOM SEG, if there is one; segments are found by their labels.

    Raises:
        ValueError: the header has no UIDs, or the result contains nothing to report.
    """
    source = without_patient(header)
    segments = {} if segmentation is None else segments_of(segmentation, result)
    groups = GroupBuilder(result, source, provenance, segments).groups()
    used = [] if segmentation is None else [_reference_only(segmentation)]
    study_uid, uid = str(source.StudyInstanceUID), str(source.SOPInstanceUID)
    identity = _identity(study_uid, uid, "SR", instance_number(header), provenance)
    return _document(groups, [(header, source)], used, provenance, identity)


def study_report(
    classes: Mapping[str, Mapping[str, ClassResult]], headers: Mapping[str, Dataset], provenance: Provenance
) -> Dataset:
    """Returns the report of the classifications that were fused from several images of a study.

    Args:
        classes: {study task: {'study', 'R' or 'L': classification}}.
        headers: {view, such as 'R_CC': header of the image that was used}; the classification of a breast refers to the
            views of its side.
        provenance: what produced the results.

    Raises:
        ValueError: there is no image or no classification, or a header has no UIDs.
    """
    if not headers:
        raise ValueError("headers expects the images of a study, got none.")
    by_view = {view: without_patient(header) for view, header in headers.items()}
    sources = list(by_view.values())
    uid = str(sources[0].StudyInstanceUID)
    groups = [
        _study_group(task, part, result, by_view, provenance)
        for task, parts in classes.items()
        for part, result in parts.items()
    ]
    identity = _identity(uid, uid, study_kind("study SR", sources), 1, provenance)
    return _document(groups, list(zip(headers.values(), sources, strict=True)), [], provenance, identity)


def segments_of(segmentation: Dataset, result: ImageResult) -> dict[tuple[str, str], SegmentReference]:
    """Returns the segments of a result's structures: {(task, structure): segment}.

    Segments are found by their tracking identifier '<task> <structure>', or otherwise by their label. Segments that
    span several frames are left out.
    """
    items = list(segmentation.SegmentSequence)
    numbers = {str(item.get("SegmentLabel", "")): int(item.SegmentNumber) for item in items}
    numbers |= {str(item.TrackingID): int(item.SegmentNumber) for item in items if item.get("TrackingID")}
    frames = _frames_of_segments(segmentation)
    found = {}
    for task, masks in result.segmentations.items():
        for mask in masks:
            number = numbers.get(f"{task} {mask.structure}", numbers.get(mask.structure))
            if number is not None and len(frames.get(number, ())) == 1:
                found[task, mask.structure] = SegmentReference(
                    str(segmentation.SOPInstanceUID), str(segmentation.SOPClassUID), frames[number][0], number
                )
    return found


def device_uid(provenance: Provenance) -> str:
    """Returns the UID of the observer: one for each combination of bundle and weights."""
    return str(generate_uid(entropy_srcs=[f"device|{model_sha256(provenance)}"]))


def _document(
    groups: Sequence[Dataset],
    images: Sequence[tuple[Dataset, Dataset]],
    others: Sequence[Dataset],
    provenance: Provenance,
    identity: DocumentIdentity,
) -> Dataset:
    """Returns a document about images, given as (header, header without patient)."""
    if not groups:
        raise ValueError("result expects masks, boxes or classifications, got none: there is nothing to report.")
    document = new_document(identity, [*(source for _, source in images), *others], provenance)
    document.CodingSchemeIdentificationSequence = [coding_scheme()]
    document.ContentSequence = [
        code(HAS_CONCEPT_MOD, concepts.LANGUAGE, ENGLISH),
        *_observer(provenance),
        code(HAS_CONCEPT_MOD, PROCEDURE_REPORTED, concepts.IMAGING_PROCEDURE),
        image_library([header for header, _ in images]),
        container(IMAGING_MEASUREMENTS, groups),
    ]
    copy_patient_and_study(images[0][0], document)
    set_creation_time(images[0][0], document, "Content")
    keep_encoded(document)
    return document


def _identity(series_of: str, source_uid: str, kind: str, number: int, provenance: Provenance) -> DocumentIdentity:
    model = model_sha256(provenance)
    return DocumentIdentity(
        COMPREHENSIVE_3D_SR,
        "1500",
        REPORT,
        derived_uid(source_uid, kind, model),
        derived_uid(series_of, "SR series", model),
        SERIES_NUMBER,
        number,
    )


def _observer(provenance: Provenance) -> Iterator[Dataset]:
    """The observer is a device (TID 1002, 1004), named with the notice."""
    yield code(HAS_OBS_CONTEXT, OBSERVER_TYPE, DEVICE)
    yield uid_reference(HAS_OBS_CONTEXT, DEVICE_UID, device_uid(provenance))
    for name, value in (
        (DEVICE_NAME, f"{MANUFACTURER}. {NOTICE}"),
        (DEVICE_MANUFACTURER, MANUFACTURER),
        (DEVICE_MODEL, ascii_text(provenance.bundle_name)),
        (DEVICE_SERIAL, provenance.weights_sha256),
    ):
        yield text(HAS_OBS_CONTEXT, name, value)


def _study_group(
    task: str, part: str, result: ClassResult, by_view: Mapping[str, Dataset], provenance: Provenance
) -> Dataset:
    """The classification of a study or of one breast (TID 1501)."""
    name = task if part == "study" else f"{task} {part}"
    sources = [source for view, source in by_view.items() if part in ("study", view[0])]
    uid = derived_uid(
        str(sources[0].StudyInstanceUID), study_kind(f"finding {name}", sources), model_sha256(provenance)
    )
    items = [
        *tracking(name, uid),
        *([finding_site(part)] if part in concepts.LATERALITIES else []),
        *class_measurements(result, encode_algorithm(provenance)),
        *class_evaluations(task, result),
        *(image(CONTAINS, source, name=SOURCE_OF_MEASUREMENT) for source in sources),
    ]
    return container(MEASUREMENT_GROUP, items, template="1501")


def _frames_of_segments(segmentation: Dataset) -> dict[int, list[int]]:
    """Returns {segment number: numbers of its frames}, both from 1; a label map has one frame for all."""
    frames: dict[int, list[int]] = {}
    shared = segmentation.get("SharedFunctionalGroupsSequence") or [Dataset()]
    for number, item in enumerate(segmentation.PerFrameFunctionalGroupsSequence, start=1):
        groups = item if "SegmentIdentificationSequence" in item else shared[0]
        if "SegmentIdentificationSequence" in groups:
            segment = int(groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
            frames.setdefault(segment, []).append(number)
    return frames


def _reference_only(segmentation: Dataset) -> Dataset:
    """The UIDs of a SEG, for the evidence."""
    reference = Dataset()
    for keyword in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        setattr(reference, keyword, segmentation[keyword].value)
    return reference
