"""Writes the overlay of an image: a picture with masks, boxes and class probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mtmedformer_monai.visualization.overlay import MAX_BOXES
from mtmedformer_monai.visualization.raster_overlay import draw_findings

from .output_paths import inside
from .results import BoxResult, ClassResult, ImageResult, ImageSource, Provenance


def write_overlay(image: ImageResult, source: ImageSource, provenance: Provenance, folder: Path) -> Mapping[str, str]:
    """Writes `<name>_overlay.jpg`, without any text that identifies a patient; returns {'overlay': file name}."""
    if source.maps is None:
        return {}
    masks = [
        (found.structure, mask)
        for task, results in image.segmentations.items()
        for found, mask in zip(results, source.maps.small.masks[task], strict=True)
    ]
    picture = source.maps.small.picture
    scale = (picture.shape[1] / image.size[1], picture.shape[0] / image.size[0])
    boxes = [
        ([length * scale[axis % 2] for axis, length in enumerate(box.box)], f"{box.class_name} {box.probability:.2f}")
        for box in drawn_boxes(image)
    ]
    name = f"{image.name}_overlay.jpg"
    draw_findings(picture, masks, boxes, describe_lines(image), inside(folder, name))
    return {"overlay": name}


def drawn_boxes(image: ImageResult) -> list[BoxResult]:
    """Returns the boxes that a picture shows: of those that are reported of each task, the most probable ones."""
    return [
        box for boxes in image.boxes.values() for box in sorted(boxes, key=lambda box: -box.probability)[:MAX_BOXES]
    ]


def describe_lines(image: ImageResult) -> list[str]:
    """Returns lines of text with flags and class probabilities."""
    lines = [f"Note: {flag}" for flag in image.flags]
    for task, found in image.classes.items():
        lines += ["", task, *_describe_class(found)]
    return lines


def _describe_class(found: ClassResult) -> list[str]:
    if not found.applicable:
        return ["  not applicable"]
    return [
        f"  {probability:.{found.decimals(name)}f}  {name}{_mark_predicted(found, name)}"
        for name, probability in found.probabilities.items()
    ]


def _mark_predicted(found: ClassResult, name: str) -> str:
    """Returns '  (predicted)' for a predicted class, with the threshold that decided, if there is one."""
    threshold = found.thresholds.get(name) if found.kind in ("binary", "multilabel") else None  # else not decisive
    reason = "" if threshold is None else f"; threshold {threshold:.{found.decimals(name)}f}"
    return f"  (predicted{reason})" if name in found.predicted else ""
