"""Writes Grayscale Softcopy Presentation States: boxes and outlines as graphics over the source (DICOM PS3.3 A.33.1).

Graphics are in PIXEL units (C.10.5.1.2): the top left corner of the image is (0, 0), its bottom right corner is
(Columns, Rows), as in `BoxResult.box`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from mtmedformer_monai.deploy.headers.coded_names import ascii_text, readable
from mtmedformer_monai.deploy.headers.creation_time import set_creation_time
from mtmedformer_monai.deploy.headers.equipment import MANUFACTURER
from mtmedformer_monai.deploy.headers.patient_study import copy_patient_and_study, instance_number, without_patient
from mtmedformer_monai.deploy.headers.uids import derived_uid, model_sha256
from mtmedformer_monai.deploy.results import ImageResult, Provenance
from mtmedformer_monai.deploy.sr.measurement_groups import box_outline
from mtmedformer_monai.deploy.sr.sr_document import SERIES_DESCRIPTION, equipment
from mtmedformer_monai.keys import NOTICE

from .display_settings import copy_display_settings, presentation_lut_shape, series_laterality
from .mask_outlines import mask_outlines

SERIES_NUMBER = 9103
MAX_POINTS = 8000
"""Points per graphic: its coordinates have 4 bytes each, and an element of VR FL has at most 65,534 bytes."""


def presentation_state(
    result: ImageResult,
    masks: Mapping[str, NDArray[np.bool_]],
    header: Dataset,
    provenance: Provenance,
) -> Dataset:
    """Returns a presentation state with the boxes, mask outlines and display settings of one image.

    Args:
        result: results of the image.
        masks: {segmentation task: bool (C, H, W)}, as `ImageMaps.masks`.
        header: header of the source.
        provenance: what produced the results.

    Raises:
        ValueError: the header has no UIDs, or the source is a color image, to which grayscale states do not apply.
    """
    if header.get("SamplesPerPixel", 1) != 1:
        raise ValueError(
            "header expects a grayscale image, got a color image: a grayscale presentation state does not apply to it; "
            "use the overlay instead."
        )
    source = without_patient(header)
    source.SamplesPerPixel = 1
    annotations, layers = _annotations(result, masks, source)
    model = model_sha256(provenance)
    series = f"GSPS series {series_laterality(header)}".rstrip()  # one laterality per series
    state = hd.pr.GrayscaleSoftcopyPresentationState(
        referenced_images=[source],
        series_instance_uid=derived_uid(str(source.StudyInstanceUID), series, model),
        series_number=SERIES_NUMBER,
        sop_instance_uid=derived_uid(str(source.SOPInstanceUID), "GSPS", model),
        instance_number=instance_number(header),
        manufacturer=MANUFACTURER,
        content_label="AI_RESULTS",
        content_description=SERIES_DESCRIPTION,
        series_description=SERIES_DESCRIPTION,
        graphic_annotations=annotations,
        graphic_layers=layers,
        presentation_lut_transformation=hd.PresentationLUTTransformation(presentation_lut_shape(header)),
        **equipment(provenance),
    )
    copy_patient_and_study(header, state)
    set_creation_time(header, state, "PresentationCreation")
    copy_display_settings(header, state)
    if result.spacing_mm is not None:
        _set_aspect_ratio(state, result.spacing_mm)
    return state


def _set_aspect_ratio(state: Dataset, spacing_mm: tuple[float, float]) -> None:
    """Sets the pixels' height and width of the displayed area, which are taken as equal otherwise (PS3.3 C.10.4)."""
    if spacing_mm[0] != spacing_mm[1]:
        for area in state.DisplayedAreaSelectionSequence:
            area.PresentationPixelAspectRatio = [round(1e6 * length / max(spacing_mm)) for length in spacing_mm]


def _annotations(
    result: ImageResult, masks: Mapping[str, NDArray[np.bool_]], source: Dataset
) -> tuple[list[Any], list[Any]]:
    """Returns the graphics and their layers: boxes with labels, outlines, and the notice."""
    boxes, labels = list(_boxes(result)), list(_labels(result))
    contents = {"OUTLINES": (list(_outlines(masks)), []), "BOXES": (boxes, labels), "NOTICE": ([], [_notice()])}
    contents = {name: content for name, content in contents.items() if any(content)}
    layers = {name: hd.pr.GraphicLayer(name, order) for order, name in enumerate(contents, start=1)}
    annotations = [
        hd.pr.GraphicAnnotation(
            referenced_images=[source], graphic_layer=layers[name], graphic_objects=graphics, text_objects=texts
        )
        for name, (graphics, texts) in contents.items()
    ]
    return annotations, list(layers.values())


def _boxes(result: ImageResult) -> Iterator[Any]:
    rows, columns = result.size
    for boxes in result.boxes.values():
        for box in boxes:
            yield _polyline(np.clip(box_outline(box.box), 0.0, [columns, rows]))


def _labels(result: ImageResult) -> Iterator[Any]:
    """Class and probability, anchored to the top left corner of each box."""
    rows, columns = result.size
    for boxes in result.boxes.values():
        for box in boxes:
            anchor = np.clip(box.box[:2], 0.0, [columns, rows])
            yield hd.pr.TextObject(
                text_value=f"{ascii_text(readable(box.class_name))} {box.probability:.2f}",
                units=hd.pr.AnnotationUnitsValues.PIXEL,
                anchor_point=(float(anchor[0]), float(anchor[1])),
                anchor_point_visible=False,
            )


def _outlines(masks: Mapping[str, NDArray[np.bool_]]) -> Iterator[Any]:
    """Outlines of all structures; long ones in parts that share their end points."""
    for structures in masks.values():
        for mask in structures:
            for outline in mask_outlines(mask):
                for start in range(0, len(outline) - 1, MAX_POINTS - 1):
                    yield _polyline(outline[start : start + MAX_POINTS])


def _notice() -> Any:
    """The notice along the lower edge of the displayed area."""
    return hd.pr.TextObject(
        text_value=NOTICE, units=hd.pr.AnnotationUnitsValues.DISPLAY, bounding_box=(0.01, 0.95, 0.99, 0.99)
    )


def _polyline(points: NDArray[np.float64]) -> Any:
    return hd.pr.GraphicObject(
        graphic_type=hd.pr.GraphicTypeValues.POLYLINE,
        graphic_data=points,
        units=hd.pr.AnnotationUnitsValues.PIXEL,
    )
