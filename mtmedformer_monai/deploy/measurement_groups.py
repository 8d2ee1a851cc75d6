"""The measurement groups of one image in a Comprehensive 3D SR (DICOM PS3.16, TID 1410, 1501, 300 and 4019).

Coordinates are image relative (PS3.3 C.18.6.1.1): the top left corner of the image is (0, 0), and its bottom right
corner is (Columns, Rows), as in `BoxResult.box`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from mtmedformer_monai.keys import NOTICE

from . import concepts
from .results import BoxResult, ClassResult, ImageResult, MaskResult, Provenance, Uncertainty
from .uids import derived_uid, model_sha256

Groups: TypeAlias = list[Any]
"""Measurement groups of highdicom."""


@dataclass(frozen=True)
class SegmentReference:
    """A segment of a DICOM SEG.

    Attributes:
        sop_instance_uid: SOP Instance UID of the SEG.
        sop_class_uid: its SOP class.
        frame: number of the segment's only frame, from 1.
        segment: number of the segment, from 1.
    """

    sop_instance_uid: str
    sop_class_uid: str
    frame: int
    segment: int


class GroupBuilder:
    """Builds the measurement groups of one image.

    Args:
        result: results of the image.
        source: header of the source, from `patient_study.without_patient`.
        provenance: what produced the results.
        segments: {(task, structure): segment}; structures without one are reported without a region.
    """

    def __init__(
        self,
        result: ImageResult,
        source: Dataset,
        provenance: Provenance,
        segments: Mapping[tuple[str, str], SegmentReference] | None = None,
    ) -> None:
        self._result = result
        self._source = source
        self._provenance = provenance
        self._segments = segments or {}
        self._algorithm = algorithm_identification(provenance)
        self._sites = finding_sites(result)

    def groups(self) -> Groups:
        """Returns the groups of all masks, boxes and classifications."""
        return [*self._of_masks(), *self._of_boxes(), *self._of_classes()]

    def _of_masks(self) -> Iterator[Any]:
        for task, masks in self._result.segmentations.items():
            for mask in masks:
                yield self._mask(task, mask)

    def _of_boxes(self) -> Iterator[Any]:
        for task, boxes in self._result.boxes.items():
            yield self._count(task, boxes)
            for number, box in enumerate(boxes, start=1):
                yield self._box(task, number, box)

    def _of_classes(self) -> Iterator[Any]:
        for task, result in self._result.classes.items():
            yield self._image_group(
                task,
                measurements=class_measurements(result, self._algorithm),
                qualitative_evaluations=class_evaluations(task, result),
            )

    def _mask(self, task: str, mask: MaskResult) -> Any:
        finding = concepts.class_concept(task, mask.structure)
        measurements = [self._measure(concepts.AREA, *area) for area in _areas(mask)] + uncertainty_measurements(
            mask.uncertainty, self._algorithm
        )
        segment = self._segments.get((task, mask.structure))
        name = f"{task}: {mask.structure}"
        if segment is None:
            return self._image_group(name, measurements=measurements, finding_type=finding)
        return hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
            referenced_segment=self._segment_reference(segment),
            tracking_identifier=self._tracking(name),
            finding_type=finding,
            finding_sites=self._sites,
            measurements=measurements,
        )

    def _segment_reference(self, segment: SegmentReference) -> Any:
        """The frame of a segment and its source.

        highdicom states the segment as well, which PS3.3 C.17.3.5 excludes beside a frame.
        """
        reference = hd.sr.ReferencedSegmentationFrame(
            sop_class_uid=segment.sop_class_uid,
            sop_instance_uid=segment.sop_instance_uid,
            frame_number=segment.frame,
            segment_number=segment.segment,
            source_image=hd.sr.SourceImageForSegmentation(*_reference(self._source)),
        )
        del reference[0].ReferencedSOPSequence[0].ReferencedSegmentNumber
        return reference

    def _box(self, task: str, number: int, box: BoxResult) -> Any:
        measurements = [self._measure(concepts.PROBABILITY, box.probability, concepts.NO_UNITS)]
        if box.size_mm is not None:
            measurements += [
                self._measure(concepts.WIDTH, box.size_mm[0], concepts.MM),
                self._measure(concepts.HEIGHT, box.size_mm[1], concepts.MM),
            ]
        if box.threshold is not None:
            threshold = concepts.private_concept("Operating threshold")
            measurements.append(self._measure(threshold, box.threshold, concepts.NO_UNITS))
        return self._region_group(
            f"{task} {number}",
            box_outline(box.box),
            finding_type=concepts.class_concept(task, box.class_name),
            geometric_purpose=concepts.BOUNDED_BY,
            measurements=measurements + uncertainty_measurements(box.uncertainty, self._algorithm),
        )

    def _count(self, task: str, boxes: Sequence[BoxResult]) -> Any:
        """The number of boxes, so that an image without any differs from an image that was not searched."""
        concept = concepts.task_concept(task)
        return self._image_group(
            task,
            measurements=[self._measure(concepts.NUMBER_OF_FINDINGS, len(boxes), concepts.NO_UNITS)],
            qualitative_evaluations=[
                hd.sr.QualitativeEvaluation(concept, concepts.PRESENT if boxes else concepts.ABSENT)
            ],
        )

    def _image_group(self, name: str, **content: Any) -> Any:
        """A group about the whole image, whose region is the image.

        TID 1501 has groups without a region, but PixelMed's validator requires regions of all groups of a document if
        one of them has any.
        """
        rows, columns = self._result.size
        return self._region_group(name, box_outline((0, 0, columns, rows)), **content)

    def _region_group(self, name: str, outline: NDArray[np.float64], **content: Any) -> Any:
        """A group about a region of the image (TID 1410)."""
        return hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
            referenced_region=hd.sr.ImageRegion(
                graphic_type=hd.sr.GraphicTypeValues.POLYLINE,
                graphic_data=outline,
                source_image=hd.sr.SourceImageForRegion(*_reference(self._source)),
            ),
            tracking_identifier=self._tracking(name),
            finding_sites=self._sites,
            **content,
        )

    def _measure(self, name: Code, value: float, unit: Code) -> Any:
        return measurement(name, value, unit, self._algorithm)

    def _tracking(self, name: str) -> Any:
        uid = derived_uid(self._source.SOPInstanceUID, f"finding {name}", model_sha256(self._provenance))
        return hd.sr.TrackingIdentifier(uid=uid, identifier=concepts.ascii_text(name))


def measurement(name: Code, value: float, unit: Code, algorithm: Any) -> Any:
    """Returns a numeric measurement with the algorithm's identification (TID 300)."""
    return hd.sr.Measurement(name=name, value=value, unit=unit, algorithm_id=algorithm)


def class_measurements(result: ClassResult, algorithm: Any) -> list[Any]:
    """Returns the probability, the operating threshold and the uncertainty of each class."""
    numbers = {f"Probability of {concepts.readable(name)}": value for name, value in result.probabilities.items()}
    numbers |= {f"Threshold of {concepts.readable(name)}": value for name, value in result.thresholds.items()}
    named = [
        measurement(concepts.private_concept(name), value, concepts.NO_UNITS, algorithm)
        for name, value in numbers.items()
    ]
    return named + uncertainty_measurements(result.uncertainty, algorithm)


def class_evaluations(task: str, result: ClassResult) -> list[Any]:
    """Returns the predicted classes, and whether their probabilities are calibrated.

    A multi-label task evaluates each class as present or absent. Other tasks have one class, and a conditional task
    whose condition is not met is 'Not applicable'.
    """
    calibrated = concepts.private_concept("Calibrated probabilities")
    if not result.applicable:
        answers = [(concepts.task_concept(task), concepts.private_concept("Not applicable"))]
    elif result.kind == "multilabel":
        answers = [
            (concepts.class_concept(task, name), concepts.PRESENT if name in result.predicted else concepts.ABSENT)
            for name in result.probabilities
        ]
    else:
        answers = [(concepts.task_concept(task), concepts.class_concept(task, name)) for name in result.predicted]
    answers.append((calibrated, concepts.YES if result.calibrated else concepts.NO))
    return [hd.sr.QualitativeEvaluation(name, value) for name, value in answers]


def uncertainty_measurements(uncertainty: Uncertainty, algorithm: Any) -> list[Any]:
    """Returns measurements named by measure, and by class where a measure has one value per class."""
    values: dict[str, float] = {}
    for name, value in uncertainty.items():
        meaning = f"Uncertainty ({concepts.readable(name)})"
        if isinstance(value, Mapping):
            values |= {f"{meaning} of {concepts.readable(each)}": number for each, number in value.items()}
        else:
            values[meaning] = value
    return [
        measurement(concepts.private_concept(name), value, concepts.NO_UNITS, algorithm)
        for name, value in values.items()
    ]


def algorithm_identification(provenance: Provenance) -> Any:
    """Returns name and version of the bundle, with its hashes and the notice as parameters (TID 4019)."""
    return hd.sr.AlgorithmIdentification(
        name=concepts.ascii_text(provenance.bundle_name),
        version=concepts.ascii_text(provenance.bundle_version),
        parameters=algorithm_parameters(provenance),
    )


def algorithm_parameters(provenance: Provenance) -> list[str]:
    """Returns the hashes of bundle and weights, and the notice."""
    return [
        f"bundle SHA-256: {provenance.bundle_sha256}",
        f"weights SHA-256: {provenance.weights_sha256}",
        NOTICE,
    ]


def finding_sites(result: ImageResult) -> list[Any]:
    """Returns the breast and its side for a mammogram, and nothing for other images."""
    if result.modality != "MG":
        return []
    side = concepts.LATERALITIES.get(result.laterality or "")
    return [hd.sr.FindingSite(anatomic_location=concepts.SITES["BREAST"], laterality=side)]


def box_outline(box: tuple[float, float, float, float]) -> NDArray[np.float64]:
    """Returns the closed outline of a box x1, y1, x2, y2 as float64 (5, 2) of (column, row)."""
    x1, y1, x2, y2 = box
    return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2], [x1, y1]], dtype=np.float64)


def _areas(mask: MaskResult) -> list[tuple[float, Code]]:
    """The area in square millimeters where it is known, and otherwise in pixels."""
    if mask.area_mm2 is None:
        return [(mask.area_px, concepts.PIXELS)]
    return [(mask.area_mm2, concepts.MM2)]


def _reference(source: Dataset) -> tuple[str, str]:
    return source.SOPClassUID, source.SOPInstanceUID
