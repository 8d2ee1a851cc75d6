"""Writes `results.csv`: one row per image and one per study."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from mtmedformer_monai.io.atomic_files import write_atomically

from .output_paths import inside
from .results import ClassResult, ImageResult, RunResult, StudyResult

NAME = "results.csv"

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""First characters with which spreadsheets start a formula."""


def write_table(run: RunResult, folder: Path) -> Mapping[str, str]:
    """Writes the table; the columns of all rows are those of the tasks, in the order in which they first occur.

    Text that a spreadsheet would take for a formula, such as a file name, is preceded by an apostrophe.
    """
    rows = [row for study in run.studies for row in _rows_of(study)]
    columns = list(dict.fromkeys(name for row in rows for name in row)) or ["level"]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _as_text(value) for name, value in row.items()} for row in rows)
    write_atomically(inside(folder, NAME), lambda file: file.write(text.getvalue().encode("utf-8", "backslashreplace")))
    return {"csv": NAME}


def _rows_of(study: StudyResult) -> list[dict[str, object]]:
    images = [_row_of_image(study, image) for image in study.images]
    row: dict[str, object] = {
        "level": "study",
        "study": study.folder,
        "images": len(study.images),
        "study_instance_uid": study.study_instance_uid,
    }
    for task, groups in study.classes.items():
        for group, found in groups.items():
            row |= _of_class(task if group == "study" else f"{task}.{group}", found)
    return [*images, row]


def _row_of_image(study: StudyResult, image: ImageResult) -> dict[str, object]:
    row: dict[str, object] = {
        "level": "image",
        "study": study.folder,
        "images": 1,
        "study_instance_uid": image.study_instance_uid,
        "sop_instance_uid": image.sop_instance_uid,
        "source": image.source,
        "modality": image.modality,
        "laterality": image.laterality,
        "view": image.view,
        "rows": image.size[0],
        "columns": image.size[1],
        "row_spacing_mm": None if image.spacing_mm is None else image.spacing_mm[0],
        "column_spacing_mm": None if image.spacing_mm is None else image.spacing_mm[1],
        "flags": "; ".join(image.flags),
    }
    for task, masks in image.segmentations.items():
        for mask in masks:
            row[f"{task}.{mask.structure}.area_px"] = mask.area_px
            row[f"{task}.{mask.structure}.area_mm2"] = mask.area_mm2
    for task, boxes in image.boxes.items():
        row[f"{task}.count"] = len(boxes)
        row[f"{task}.max_probability"] = max((box.probability for box in boxes), default=None)
    for task, found in image.classes.items():
        row |= _of_class(task, found)
    return row | {f"score.{name}": value for name, value in image.scores.items()}


def _of_class(name: str, found: ClassResult) -> dict[str, object]:
    predicted = "; ".join(found.predicted) if found.applicable else "not applicable"
    return {f"{name}.predicted": predicted} | {f"{name}.{each}": value for each, value in found.probabilities.items()}


def _as_text(value: object) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(_FORMULA) else text
