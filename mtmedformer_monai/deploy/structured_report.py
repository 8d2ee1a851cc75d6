"""Writes Comprehensive 3D SR documents by TID 1500, Measurement Report (DICOM PS3.3 A.35.13, PS3.16 TID 1500).

The regions of a projection image are two-dimensional (SCOORD): without a frame of reference, there is no position in
three dimensions. Comprehensive 3D SR allows both kinds, and IHE's profile AI Results requires this SOP class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import highdicom as hd
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from mtmedformer_monai.keys import NOTICE

from . import concepts
from .image_library import image_library
from .measurement_groups import (
    GroupBuilder,
    Groups,
    SegmentReference,
    algorithm_identification,
    class_evaluations,
    class_measurements,
)
from .patient_study import copy_patient_and_study, instance_number, without_patient
from .results import ClassResult, ImageResult, Provenance
from .uids import derived_uid, model_sha256

MANUFACTURER = "MTMedFormer-MONAI"
SERIES_NUMBER = 9101
SERIES_DESCRIPTION = "AI results (research use only)"


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
    identity = _Identity(str(source.SOPInstanceUID), "SR", instance_number(header))
    return _document(groups, [(header, source)], used, provenance, identity)


def study_report(
    classes: Mapping[str, Mapping[str, ClassResult]], headers: Sequence[Dataset], provenance: Provenance
) -> Dataset:
    """Returns the report of the classifications that were fused from several images of a study.

    Args:
        classes: {study task: {'study', 'R' or 'L': classification}}.
        headers: headers of the images that were used.
        provenance: what produced the results.

    Raises:
        ValueError: there is no image or no classification, or a header has no UIDs.
    """
    if not headers:
        raise ValueError("headers expects the images of a study, got none.")
    sources = [without_patient(header) for header in headers]
    uid = str(sources[0].StudyInstanceUID)
    groups = [
        _study_group(task, part, result, sources, provenance)
        for task, parts in classes.items()
        for part, result in parts.items()
    ]
    identity = _Identity(uid, study_kind("study SR", sources), 1)
    return _document(groups, list(zip(headers, sources, strict=True)), [], provenance, identity)


def study_kind(kind: str, sources: Sequence[Dataset]) -> str:
    """Returns the kind of an object about several images: with more images, it is another object."""
    return "|".join([kind, *sorted(str(source.SOPInstanceUID) for source in sources)])


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


@dataclass(frozen=True)
class _Identity:
    """What determines a document's UID, and its number in the series."""

    source_uid: str
    kind: str
    number: int


def _document(
    groups: Groups,
    images: Sequence[tuple[Dataset, Dataset]],
    others: Sequence[Dataset],
    provenance: Provenance,
    identity: _Identity,
) -> Dataset:
    """Returns a document about images, given as (header, header without patient)."""
    if not groups:
        raise ValueError("result expects masks, boxes or classifications, got none: there is nothing to report.")
    sources = [source for _, source in images]
    report = hd.sr.MeasurementReport(
        observation_context=_observation_context(provenance),
        procedure_reported=concepts.IMAGING_PROCEDURE,
        imaging_measurements=groups,
    )
    library = image_library([header for header, _ in images])
    content = report[0].ContentSequence
    content.insert(-1, library)
    # highdicom copies the content and searches it twice for references, which takes as long as all else. The library
    # refers to every source, and `evidence` lists all instances; the rest of the content follows below.
    report[0].ContentSequence = [library]
    model = model_sha256(provenance)
    document = hd.sr.Comprehensive3DSR(
        evidence=[*sources, *others],
        content=report[0],
        series_instance_uid=derived_uid(str(sources[0].StudyInstanceUID), "SR series", model),
        series_number=SERIES_NUMBER,
        sop_instance_uid=derived_uid(identity.source_uid, identity.kind, model),
        instance_number=identity.number,
        manufacturer=MANUFACTURER,
        is_complete=True,
        is_final=False,
        is_verified=False,
        series_description=SERIES_DESCRIPTION,
        coding_schemes=[coding_scheme()],
        **equipment(provenance),
    )
    document.ContentSequence = content
    copy_patient_and_study(images[0][0], document)
    return document


def coding_scheme() -> Any:
    """Returns the identification of the private coding scheme (PS3.3 C.12.1.1.1)."""
    return CodingSchemeIdentificationItem(
        designator=concepts.PRIVATE_SCHEME, name=concepts.PRIVATE_SCHEME_NAME, responsible_organization=MANUFACTURER
    )


def equipment(provenance: Provenance) -> dict[str, str]:
    """Returns model, serial number and version of the equipment (PS3.3 C.7.5.2) as arguments of highdicom."""
    return {
        "manufacturer_model_name": concepts.ascii_text(provenance.bundle_name)[:64],
        "device_serial_number": provenance.weights_sha256[:64],
        "software_versions": concepts.ascii_text(provenance.bundle_version)[:64],
    }


def _observation_context(provenance: Provenance) -> Any:
    """The observer is a device (TID 1004), named with the notice."""
    device = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=device_uid(provenance),
        name=f"{MANUFACTURER}. {NOTICE}",
        manufacturer_name=MANUFACTURER,
        model_name=concepts.ascii_text(provenance.bundle_name),
        serial_number=provenance.weights_sha256,
    )
    observer = hd.sr.ObserverContext(
        observer_type=hd.sr.CodedConcept("121007", "DCM", "Device"), observer_identifying_attributes=device
    )
    return hd.sr.ObservationContext(observer_device_context=observer)


def _study_group(task: str, part: str, result: ClassResult, sources: Sequence[Dataset], provenance: Provenance) -> Any:
    """The classification of a study or of one breast (TID 1501)."""
    name = task if part == "study" else f"{task} {part}"
    uid = derived_uid(
        str(sources[0].StudyInstanceUID), study_kind(f"finding {name}", sources), model_sha256(provenance)
    )
    side = concepts.LATERALITIES.get(part)
    breast = hd.sr.FindingSite(anatomic_location=concepts.SITES["BREAST"], laterality=side) if side else None
    return hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(uid=uid, identifier=concepts.ascii_text(name)),
        finding_sites=None if breast is None else [breast],
        measurements=class_measurements(result, algorithm_identification(provenance)),
        qualitative_evaluations=class_evaluations(task, result),
        source_images=[
            hd.sr.SourceImageForMeasurementGroup(source.SOPClassUID, source.SOPInstanceUID) for source in sources
        ],
    )


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
