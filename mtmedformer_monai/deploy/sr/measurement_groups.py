"""The measurement groups of one image in a Comprehensive 3D SR (DICOM PS3.16, TID 1410, 1501, 300 and 4019).

Coordinates are image relative (PS3.3 C.18.6.1.1): the top left corner of the image is (0, 0), and its bottom right
corner is (Columns, Rows), as in `BoxResult.box`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from mtmedformer_monai.deploy.headers.coded_names import ascii_text, class_concept, private_concept, readable
from mtmedformer_monai.deploy.headers.uids import tracking_name, tracking_uid
from mtmedformer_monai.deploy.results import BoxResult, ClassResult, ImageResult, MaskResult, Provenance, Uncertainty

from . import concepts
from .content_items import (
    CONTAINS,
    HAS_CONCEPT_MOD,
    HAS_OBS_CONTEXT,
    code,
    container,
    encode_items,
    exact_number,
    image,
    outline,
    text,
    uid_reference,
)
from .sr_document import algorithm_parameters

MEASUREMENT_GROUP = Code("125007", "DCM", "Measurement Group")
FINDING_SITE = Code("363698007", "SCT", "Finding Site")
LATERALITY = Code("272741003", "SCT", "Laterality")
GEOMETRIC_PURPOSE = Code("130400", "DCM", "Geometric purpose of region")
IMAGE_REGION = Code("111030", "DCM", "Image Region")
SEGMENTATION_FRAME = Code("121214", "DCM", "Referenced Segmentation Frame")
SEGMENTATION_SOURCE = Code("121233", "DCM", "Source Image for Segmentation")


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

    @property
    def identity(self) -> Dataset:
        """The UIDs of the SEG."""
        item = Dataset()
        item.SOPClassUID, item.SOPInstanceUID = self.sop_class_uid, self.sop_instance_uid
        return item


class GroupBuilder:
    """Builds the measurement groups of one image (TID 1410).

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
        self._algorithm = encode_algorithm(provenance)

    def groups(self) -> list[Dataset]:
        """Returns the groups of all masks, boxes and classifications."""
        return [*self._of_masks(), *self._of_boxes(), *self._of_classes()]

    def _of_masks(self) -> Iterator[Dataset]:
        for task, masks in self._result.segmentations.items():
            for mask in masks:
                yield self._mask(task, mask)

    def _of_boxes(self) -> Iterator[Dataset]:
        for task, boxes in self._result.boxes.items():
            yield self._count(task, boxes)
            for number, box in enumerate(boxes, start=1):
                yield self._box(task, number, box)

    def _of_classes(self) -> Iterator[Dataset]:
        for task, result in self._result.classes.items():
            answers = [*class_measurements(result, self._algorithm), *class_evaluations(task, result)]
            yield self._group(task, [*answers, self._whole_image()])

    def _mask(self, task: str, mask: MaskResult) -> Dataset:
        found = [
            code(CONTAINS, concepts.FINDING, class_concept(task, mask.structure)),
            self._measure(concepts.AREA, *_area(mask)),
            *uncertainty_measurements(mask.uncertainty, self._algorithm),
        ]
        segment = self._segments.get((task, mask.structure))
        region = [self._whole_image()] if segment is None else list(self._segment(segment))
        return self._group(tracking_name(task, mask.structure), [*found, *region])

    def _segment(self, segment: SegmentReference) -> Iterator[Dataset]:
        """The frame of a segment and its source; PS3.3 C.17.3.5 excludes the number of the segment beside a frame."""
        yield image(CONTAINS, segment.identity, name=SEGMENTATION_FRAME, frame=segment.frame)
        yield image(CONTAINS, self._source, name=SEGMENTATION_SOURCE)

    def _box(self, task: str, number: int, box: BoxResult) -> Dataset:
        measured = [self._measure(concepts.PROBABILITY, box.probability, concepts.NO_UNITS)]
        if box.size_mm is not None:
            measured += [
                self._measure(concepts.WIDTH, box.size_mm[0], concepts.MM),
                self._measure(concepts.HEIGHT, box.size_mm[1], concepts.MM),
            ]
        if box.threshold is not None:
            threshold = private_concept("Operating threshold")
            measured.append(self._measure(threshold, box.threshold, concepts.NO_UNITS))
        items = [
            code(CONTAINS, concepts.FINDING, class_concept(task, box.class_name)),
            *measured,
            *uncertainty_measurements(box.uncertainty, self._algorithm),
            code(CONTAINS, GEOMETRIC_PURPOSE, concepts.BOUNDED_BY),
            self._region(box_outline(box.box)),
        ]
        return self._group(f"{task} {number}", items)

    def _count(self, task: str, boxes: Sequence[BoxResult]) -> Dataset:
        """The number of boxes, so that an image without any differs from an image that was not searched."""
        items = [
            self._measure(concepts.NUMBER_OF_FINDINGS, len(boxes), concepts.NO_UNITS),
            code(CONTAINS, concepts.task_concept(task), concepts.PRESENT if boxes else concepts.ABSENT),
            self._whole_image(),
        ]
        return self._group(task, items)

    def _group(self, name: str, items: Sequence[Dataset]) -> Dataset:
        uid = tracking_uid(str(self._source.SOPInstanceUID), name, self._provenance)
        sites = [finding_site(self._result.laterality or "")] if self._result.modality == "MG" else []
        return container(MEASUREMENT_GROUP, [*tracking(name, uid), *sites, *items], template="1410")

    def _whole_image(self) -> Dataset:
        """The outline of the image, for groups about the whole image.

        TID 1501 has groups without a region, but PixelMed's validator requires regions of all groups of a document if
        one of them has any.
        """
        rows, columns = self._result.size
        return self._region(box_outline((0, 0, columns, rows)))

    def _region(self, points: NDArray[np.float64]) -> Dataset:
        return outline(CONTAINS, IMAGE_REGION, points.ravel().tolist(), self._source, concepts.SOURCE)

    def _measure(self, name: Code, value: float, unit: Code) -> Dataset:
        return measurement(name, value, unit, self._algorithm)


def measurement(name: Code, value: float, unit: Code, algorithm: bytes) -> Dataset:
    """Returns a numeric measurement with the algorithm's identification (TID 300), from `encode_algorithm`."""
    return exact_number(CONTAINS, name, value, unit, algorithm)


def tracking(name: str, uid: str) -> list[Dataset]:
    """Returns the identifiers by which a finding is recognized in other objects."""
    return [
        text(HAS_OBS_CONTEXT, concepts.TRACKING_ID, ascii_text(name)),
        uid_reference(HAS_OBS_CONTEXT, concepts.TRACKING_UID, uid),
    ]


def finding_site(laterality: str) -> Dataset:
    """Returns the breast, with its side 'R', 'L' or 'B' if that is known."""
    side = concepts.LATERALITIES.get(laterality)
    below = [] if side is None else [code(HAS_CONCEPT_MOD, LATERALITY, side)]
    return code(HAS_CONCEPT_MOD, FINDING_SITE, concepts.SITES["BREAST"], below)


def class_measurements(result: ClassResult, algorithm: bytes) -> list[Dataset]:
    """Returns the probability, the operating threshold and the uncertainty of each class."""
    numbers = {f"Probability of {readable(name)}": value for name, value in result.probabilities.items()}
    numbers |= {f"Threshold of {readable(name)}{result.or_higher}": value for name, value in result.thresholds.items()}
    named = [measurement(private_concept(name), value, concepts.NO_UNITS, algorithm) for name, value in numbers.items()]
    return named + uncertainty_measurements(result.uncertainty, algorithm)


def class_evaluations(task: str, result: ClassResult) -> list[Dataset]:
    """Returns the predicted classes, and whether their probabilities are calibrated.

    A multi-label task evaluates each class as present or absent. Other tasks have one class, those that reach their
    operating threshold beside it, and a conditional task whose condition is not met is 'Not applicable'.
    """
    calibrated = private_concept("Calibrated probabilities")
    if not result.applicable:
        answers = [(concepts.task_concept(task), private_concept("Not applicable"))]
    elif result.kind == "multilabel":
        answers = [
            (class_concept(task, name), concepts.PRESENT if name in result.predicted else concepts.ABSENT)
            for name in result.probabilities
        ]
    else:
        answers = [(concepts.task_concept(task), class_concept(task, name)) for name in result.predicted]
        reached = private_concept("Reaches operating threshold")
        answers += [(reached, class_concept(task, name)) for name in result.flagged]
    answers.append((calibrated, concepts.YES if result.calibrated else concepts.NO))
    return [code(CONTAINS, name, value) for name, value in answers]


def uncertainty_measurements(uncertainty: Uncertainty, algorithm: bytes) -> list[Dataset]:
    """Returns measurements named by measure, and by class where a measure has one value per class."""
    values: dict[str, float] = {}
    for name, value in uncertainty.items():
        meaning = f"Uncertainty ({readable(name)})"
        if isinstance(value, Mapping):
            values |= {f"{meaning} of {readable(each)}": number for each, number in value.items()}
        else:
            values[meaning] = value
    return [measurement(private_concept(name), value, concepts.NO_UNITS, algorithm) for name, value in values.items()]


def encode_algorithm(provenance: Provenance) -> bytes:
    """Returns encoded items with name and version of the bundle, its hashes and the notice (TID 4019)."""
    return _encode_algorithm(provenance.bundle_name, provenance.bundle_version, algorithm_parameters(provenance))


@lru_cache(maxsize=8)
def _encode_algorithm(name: str, version: str, parameters: tuple[str, ...]) -> bytes:
    named = [(concepts.ALGORITHM_NAME, name), (concepts.ALGORITHM_VERSION, version)]
    named += [(concepts.ALGORITHM_PARAMETERS, each) for each in parameters]
    return encode_items([text(HAS_CONCEPT_MOD, concept, ascii_text(value)) for concept, value in named])


def box_outline(box: tuple[float, float, float, float]) -> NDArray[np.float64]:
    """Returns the closed outline of a box x1, y1, x2, y2 as float64 (5, 2) of (column, row)."""
    x1, y1, x2, y2 = box
    return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2], [x1, y1]], dtype=np.float64)


def _area(mask: MaskResult) -> tuple[float, Code]:
    """The area in square millimeters where it is known, and otherwise in pixels."""
    return (mask.area_px, concepts.PIXELS) if mask.area_mm2 is None else (mask.area_mm2, concepts.MM2)
