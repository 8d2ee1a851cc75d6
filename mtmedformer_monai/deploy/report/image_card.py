"""One image of the report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mtmedformer_monai.deploy.results import BoxResult, ImageResult, StudyResult
from mtmedformer_monai.deploy.small_maps import DRAWING_SIDE, fit

from .bars import Classification, classification, remarks
from .layers import ImageLayers, Layer

TIMES = " \N{MULTIPLICATION SIGN} "


@dataclass(frozen=True)
class BoxShape:
    """A box to draw, in source pixels; its label stands above it, or inside if there is no room."""

    x: float
    y: float
    width: float
    height: float
    text_x: float
    text_y: float
    ends: bool
    label: str


@dataclass(frozen=True)
class ImageCard:
    """One image: its layers, findings and facts. `width` and `height` are those of the picture, in pixels."""

    id: str
    title: str
    study_title: str
    source: str
    folder: str
    rows: int
    columns: int
    width: int
    height: int
    font_size: float
    layers: ImageLayers | None
    masks: tuple[Layer, ...]
    heats: tuple[Layer, ...]
    boxes: tuple[BoxShape, ...]
    classes: tuple[Classification, ...]
    measurements: tuple[tuple[str, str], ...]
    facts: tuple[str, ...]
    flags: tuple[str, ...]
    notes: tuple[str, ...]
    files: dict[str, str]


def image_card(
    identifier: str, study_title: str, study: StudyResult, image: ImageResult, layers: ImageLayers | None
) -> ImageCard:
    """Arranges the results of one image.

    Args:
        identifier: unique id of the card on the page.
        study_title: title of the study's card.
        study: the study of the image.
        image: its results.
        layers: its layers, or None if none were written.
    """
    rows, columns = image.size
    height, width = fit((rows, columns), DRAWING_SIDE)
    font_size = round(max(rows, columns) / 30, 1)
    shown = layers.layers if layers else ()
    return ImageCard(
        id=identifier,
        title=" ".join(part for part in (image.laterality, image.view) if part) or image.modality or "Image",
        study_title=study_title,
        source=image.source,
        folder=study.folder,
        rows=rows,
        columns=columns,
        width=width,
        height=height,
        font_size=font_size,
        layers=layers,
        masks=tuple(layer for layer in shown if layer.kind == "mask"),
        heats=tuple(layer for layer in shown if layer.kind != "mask"),
        boxes=tuple(_shape(box, font_size, columns) for boxes in image.boxes.values() for box in boxes),
        classes=tuple(classification(task, result) for task, result in image.classes.items()),
        measurements=tuple(_measurements(image)),
        facts=tuple(_facts(image)),
        flags=image.flags,
        notes=image.notes,
        files={kind: file for kind, file in image.files.items() if not file.endswith("layers.json")},
    )


def _shape(box: BoxResult, font_size: float, columns: int) -> BoxShape:
    x1, y1, x2, y2 = (round(value, 2) for value in box.box)
    ends = x1 > columns / 2  # a label to the left of its box's right edge stays inside the image
    above = y1 > 1.4 * font_size
    return BoxShape(
        x=x1,
        y=y1,
        width=round(max(0.0, x2 - x1), 2),
        height=round(max(0.0, y2 - y1), 2),
        text_x=x2 if ends else x1,
        text_y=round(y1 - 0.35 * font_size if above else y1 + 1.1 * font_size, 2),
        ends=ends,
        label=f"{box.class_name} {box.probability:.2f}",
    )


def _measurements(image: ImageResult) -> Iterator[tuple[str, str]]:
    for masks in image.segmentations.values():
        for mask in masks:
            area = f"{mask.area_px:,} px" if mask.area_mm2 is None else f"{mask.area_mm2 / 100:,.2f} cm²"
            extra = "; ".join(remarks(mask.uncertainty))
            yield (
                f"{mask.structure}, area",
                f"{area} ({100 * mask.area_fraction:.1f} %)" + (f"; {extra}" if extra else ""),
            )
    for boxes in image.boxes.values():
        for index, box in enumerate(boxes):
            size = "size unknown" if box.size_mm is None else f"{box.size_mm[0]:.1f}{TIMES}{box.size_mm[1]:.1f} mm"
            extra = "; ".join(remarks(box.uncertainty))
            yield (
                f"{box.class_name}, box {index + 1}",
                f"{box.probability:.2f}; {size}" + (f"; {extra}" if extra else ""),
            )
    for name, value in image.scores.items():
        yield name.replace("_", " "), f"{value:.3g}"


def _facts(image: ImageResult) -> Iterator[str]:
    yield image.modality or "not DICOM"
    yield f"{image.size[0]}{TIMES}{image.size[1]} pixels"
    if image.spacing_mm is None:
        yield "spacing unknown"
    else:
        yield f"spacing {image.spacing_mm[0]:.3g}{TIMES}{image.spacing_mm[1]:.3g} mm"
    if image.sop_instance_uid:
        yield f"SOP Instance UID {image.sop_instance_uid}"
