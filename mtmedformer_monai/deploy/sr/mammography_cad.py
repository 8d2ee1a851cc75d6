"""The content of Mammography CAD SR documents (DICOM PS3.16, TID 4000 to 4023; PS3.17, annex E).

Image library, findings of single images, and summaries of the detections and analyses performed. There is no assessment
and no recommendation: the impression states that the results are for research use, and the breast composition.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from mtmedformer_monai.deploy.headers.coded_names import (
    ARCHITECTURAL_DISTORTION,
    BREAST_DENSITY,
    CALCIFICATION_CLUSTER,
    PRIVATE_SCHEME,
    ascii_text,
    class_concept,
    readable,
)
from mtmedformer_monai.deploy.headers.uids import derived_uid, model_sha256
from mtmedformer_monai.deploy.results import BoxResult, ImageResult, Provenance
from mtmedformer_monai.keys import NOTICE
from mtmedformer_monai.transforms.dicom.codes import VIEWS

from . import concepts
from . import content_items as items
from .content_items import CONTAINS, HAS_ACQ_CONTEXT, HAS_CONCEPT_MOD, HAS_OBS_CONTEXT, HAS_PROPERTIES, INFERRED_FROM
from .measurement_groups import box_outline
from .sr_document import algorithm_parameters

REPORT = Code("111036", "DCM", "Mammography CAD Report")
_ENGLISH = Code("en", "RFC5646", "English")
_SUMMARY = Code("111017", "DCM", "CAD Processing and Findings Summary")
_SUMMARIES = {  # CID 6047
    (True, True): Code("111242", "DCM", "All algorithms succeeded; with findings"),
    (True, False): Code("111241", "DCM", "All algorithms succeeded; without findings"),
    (False, True): Code("111244", "DCM", "Not all algorithms succeeded; with findings"),
    (False, False): Code("111243", "DCM", "Not all algorithms succeeded; without findings"),
}
"""{(all images were processed, there are findings): overall result}."""
_IMPRESSION = Code("111034", "DCM", "Individual Impression/Recommendation")
_IMPRESSION_TEXT = Code("111033", "DCM", "Impression Description")
_INTENT = Code("111056", "DCM", "Rendering Intent")
_REQUIRED = Code("111150", "DCM", "Presentation Required: Rendering device is expected to present")
_FINDING = Code("111059", "DCM", "Single Image Finding")
_CERTAINTY = Code("111012", "DCM", "Certainty of Finding")
_CENTER, _OUTLINE = Code("111010", "DCM", "Center"), Code("111041", "DCM", "Outline")
_DESCRIPTION = Code("111058", "DCM", "Selected Region Description")
_SUCCEEDED, _NOT_ATTEMPTED = Code("111222", "DCM", "Succeeded"), Code("111225", "DCM", "Not Attempted")

_LIBRARY_POSITION = 2
"""Position of the image library among the children of the root, from 1."""

SELECTED_REGION = Code("111099", "DCM", "Selected region")
_FINDINGS = {  # CID 6014
    "mass": Code("129793001", "SCT", "Mammography breast density"),
    "calcification": CALCIFICATION_CLUSTER,
    "calcification_cluster": CALCIFICATION_CLUSTER,
    "architectural_distortion": ARCHITECTURAL_DISTORTION,
}
"""Findings by class name; the term for a mass in a single image is a density. Others are selected regions."""

_COMPOSITION_ANALYSIS = Code("133890006", "SCT", "Breast composition analysis")  # CID 6043


@dataclass(frozen=True)
class CadImage:
    """One image of a CAD document.

    Attributes:
        result: results of the image.
        header: header of its source.
        position: its position in the image library, from 1.
    """

    result: ImageResult
    header: Dataset
    position: int

    @property
    def path(self) -> tuple[int, int, int]:
        """Position of its library entry in the tree."""
        return 1, _LIBRARY_POSITION, self.position


def cad_content(images: Sequence[CadImage], provenance: Provenance, num_refused: int = 0) -> list[Dataset]:
    """Returns the children of the root of TID 4000.

    Args:
        images: images that were processed.
        provenance: what produced the results.
        num_refused: number of images of the study that were not processed. The image library cannot name them.
    """
    findings = [item for image in images for item in _findings(image, provenance)]
    searched = [image for image in images if image.result.boxes]
    analyzed = [image for image in images if _density(image.result) is not None]
    summary = items.code(CONTAINS, _SUMMARY, _SUMMARIES[not num_refused, bool(findings)])
    impression = items.text(HAS_PROPERTIES, _IMPRESSION_TEXT, _impression(analyzed, num_refused))
    summary.ContentSequence = [impression, *_algorithm(provenance), *findings]
    return [
        items.code(HAS_CONCEPT_MOD, concepts.LANGUAGE, _ENGLISH),
        items.container(concepts.IMAGE_LIBRARY, [_library_entry(image) for image in images]),
        summary,
        _performed(_DETECTIONS, _detected(searched), searched, provenance),
        _performed(_ANALYSES, [_COMPOSITION_ANALYSIS] if analyzed else [], analyzed, provenance),
    ]


def finding_code(class_name: str) -> Code:
    """Returns the term of CID 6014 for the class of a box."""
    return _FINDINGS.get(class_name.lower(), SELECTED_REGION)


def _library_entry(image: CadImage) -> Dataset:
    """An entry of the image library with what is known about the image (TID 4020)."""
    result, context = image.result, []
    side = concepts.BREASTS.get(result.laterality or "")
    if side is not None:
        context.append(items.code(HAS_ACQ_CONTEXT, Code("111027", "DCM", "Image Laterality"), side))
    view = VIEWS.get(result.view or "")
    if view is not None:
        value = Code(view.value, view.scheme, view.meaning)
        context.append(items.code(HAS_ACQ_CONTEXT, Code("111031", "DCM", "Image View"), value))
    orientation = image.header.get("PatientOrientation")
    if orientation and not isinstance(orientation, str) and len(orientation) == 2 and all(orientation):
        names = (Code("111044", "DCM", "Patient Orientation Row"), Code("111043", "DCM", "Patient Orientation Column"))
        context += [
            items.text(HAS_ACQ_CONTEXT, name, str(value)) for name, value in zip(names, orientation, strict=True)
        ]
    if result.spacing_mm is not None:
        vertical, horizontal = result.spacing_mm
        context += [
            items.number(HAS_ACQ_CONTEXT, Code("111026", "DCM", "Horizontal Pixel Spacing"), horizontal, concepts.MM),
            items.number(HAS_ACQ_CONTEXT, Code("111066", "DCM", "Vertical Pixel Spacing"), vertical, concepts.MM),
        ]
    return items.image(CONTAINS, image.header, context)


def _impression(images: Sequence[CadImage], num_refused: int) -> str:
    """The notice, how many images were not processed, and the breast composition of each image.

    TID 4006 has a finding for the composition, but the relationship that its TID 4007 has in PixelMed's validator
    (CONTAINS between codes) is not one that the IOD allows. The measurement report has it as a code.
    """
    refused = [f"Images of the study that could not be processed: {num_refused}."] if num_refused else []
    lines = [
        f"Breast composition ({_view_of(image.result)}): {density.meaning}."
        for image in images
        if (density := _density(image.result)) is not None
    ]
    return "\n".join([NOTICE, *refused, *lines])


def _findings(image: CadImage, provenance: Provenance) -> list[Dataset]:
    """The findings of one image, each in a container of its own (TID 4003).

    PixelMed's validator applies the conditions of TID 4006 on one finding to all findings of its container.
    """
    return [
        items.container(
            _IMPRESSION,
            [_intent(_REQUIRED), _region_finding(image, f"{task} {number}", box, provenance)],
            INFERRED_FROM,
        )
        for task, boxes in image.result.boxes.items()
        for number, box in enumerate(boxes, start=1)
    ]


def _view_of(result: ImageResult) -> str:
    return ascii_text(" ".join(part for part in (result.laterality, result.view) if part)) or "unknown view"


def _region_finding(image: CadImage, name: str, box: BoxResult, provenance: Provenance) -> Dataset:
    """A box as a finding with certainty, center and outline (TID 4006, 4021)."""
    x1, y1, x2, y2 = box.box
    value = finding_code(box.class_name)
    content = [
        _intent(_REQUIRED),
        *_tracking(image, name, provenance),
        *_algorithm(provenance),
        items.number(HAS_PROPERTIES, _CERTAINTY, 100 * box.probability, concepts.PERCENT),
        items.region(HAS_PROPERTIES, _CENTER, "POINT", [(x1 + x2) / 2, (y1 + y2) / 2], image.path),
        items.region(HAS_PROPERTIES, _OUTLINE, "POLYLINE", box_outline(box.box).ravel().tolist(), image.path),
    ]
    if value == SELECTED_REGION:
        content.append(items.text(HAS_PROPERTIES, _DESCRIPTION, ascii_text(readable(box.class_name))))
    return items.code(CONTAINS, _FINDING, value, content)


def _density(result: ImageResult) -> Code | None:
    """The term of CID 6000 for the predicted breast density, or None."""
    density = result.classes.get(BREAST_DENSITY)
    if density is None or not density.applicable or len(density.predicted) != 1:
        return None
    code = class_concept(BREAST_DENSITY, density.predicted[0])
    return None if code.scheme_designator == PRIVATE_SCHEME else code


@dataclass(frozen=True)
class _Summary:
    """Concepts of a summary of what was performed."""

    name: Code
    successful: Code
    performed: Code


_DETECTIONS = _Summary(
    Code("111064", "DCM", "Summary of Detections"),
    Code("111063", "DCM", "Successful Detections"),
    Code("111022", "DCM", "Detection Performed"),
)
_ANALYSES = _Summary(
    Code("111065", "DCM", "Summary of Analyses"),
    Code("111062", "DCM", "Successful Analyses"),
    Code("111004", "DCM", "Analysis Performed"),
)


def _performed(
    summary: _Summary, values: Iterable[Code], images: Sequence[CadImage], provenance: Provenance
) -> Dataset:
    """The summary of detections (TID 4015, 4017) or analyses (TID 4016, 4018)."""
    references = [items.by_reference(HAS_PROPERTIES, image.path) for image in images]
    done = [items.code(CONTAINS, summary.performed, value, [*_algorithm(provenance), *references]) for value in values]
    if not done:
        return items.code(CONTAINS, summary.name, _NOT_ATTEMPTED)
    return items.code(CONTAINS, summary.name, _SUCCEEDED, [items.container(summary.successful, done, INFERRED_FROM)])


def _detected(images: Sequence[CadImage]) -> list[Code]:
    """What detectors looked for: the terms of the boxes they found, or regions in general if they found none."""
    boxes = [box for image in images for boxes in image.result.boxes.values() for box in boxes]
    found = sorted({finding_code(box.class_name) for box in boxes}, key=lambda code: code.value)
    return found or ([SELECTED_REGION] if images else [])


def _intent(value: Code) -> Dataset:
    return items.code(HAS_CONCEPT_MOD, _INTENT, value)


def _tracking(image: CadImage, name: str, provenance: Provenance) -> list[Dataset]:
    """The identifiers of a finding (TID 4108), the same as in the measurement report."""
    uid = derived_uid(str(image.header.SOPInstanceUID), f"finding {name}", model_sha256(provenance))
    return [
        items.text(HAS_OBS_CONTEXT, concepts.TRACKING_ID, ascii_text(name)),
        items.uid_reference(HAS_OBS_CONTEXT, concepts.TRACKING_UID, uid),
    ]


def _algorithm(provenance: Provenance) -> list[Dataset]:
    """Name, version, hashes and notice (TID 4019)."""
    texts = [
        (concepts.ALGORITHM_NAME, ascii_text(provenance.bundle_name)),
        (concepts.ALGORITHM_VERSION, ascii_text(provenance.bundle_version)),
        *((concepts.ALGORITHM_PARAMETERS, value) for value in algorithm_parameters(provenance)),
    ]
    return [items.text(HAS_PROPERTIES, name, value) for name, value in texts]
