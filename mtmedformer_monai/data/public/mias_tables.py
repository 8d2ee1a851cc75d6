"""Reads the annotations of mini-MIAS, from `Info.txt` or from a flat table."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mtmedformer_monai.data.missing import id_text

from .label_table import FILE_NAME, Row, read_choice, read_label_table
from .task_classes import TASK_CLASSES

SIDE = 1024
"""Number of rows and of columns of a film as published."""

COLUMNS = ("label", "density_mias", "rois_json", "patient_id", "laterality_from_number")
SEVERITIES = {"B": "benign", "M": "malignant"}

Circle = tuple[float, float, float]
"""x, y and radius in pixels, with the origin at the upper left; pixel i covers [i, i + 1)."""

FORM = "expects lines such as 'mdb001 G CIRC B 535 425 197'"

# mdb001 G CIRC B 535 425 197
_LINE = re.compile(
    r"(mdb(\d{3}))\s+([FGD])\s+(CALC|CIRC|SPIC|MISC|ARCH|ASYM|NORM)\b(?:\s+([BM])\b)?(?:\s+(\d+)\s+(\d+)\s+(\d+))?",
    re.IGNORECASE,
)


@dataclass
class Film:
    """One film.

    Attributes:
        name: name such as `mdb001`.
        patient_id: ID of the patient.
        laterality: 'R' or 'L'.
        density: 'F', 'G' or 'D'.
        pathology: 'normal', 'benign' or 'malignant', the most severe of its abnormalities; None if unknown.
        circles: circles around its abnormalities.
        lacks_circle: whether an abnormality has no circle, or it is unknown if there is an abnormality.
        image: path of the image.
        split: 'train', 'val' or 'test', if given in the table.
    """

    name: str
    patient_id: str
    laterality: str
    density: str
    pathology: str | None = "normal"
    circles: list[Circle] = field(default_factory=list)
    lacks_circle: bool = False
    image: Path = Path()
    split: str = ""


def read_info(path: Path) -> list[Film]:
    """Reads the films from the published `Info.txt`: prose, and one line per abnormality with origin at the lower left.

    Raises:
        ValueError: no line describes a film, or a line that begins with a film's name is malformed.
    """
    films: dict[str, Film] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        match = _LINE.match(line.strip())
        if match is None and re.match(r"mdb\d{3}\b", line.strip(), re.IGNORECASE):
            raise ValueError(f"{path} {FORM}, got {line.strip()!r}; use the original file.")
        if match:
            name, number = match[1].lower(), int(match[2])
            patient, laterality = f"mias{(number + 1) // 2:03d}", "R" if number % 2 else "L"
            film = films.setdefault(name, Film(name, patient, laterality, match[3].upper()))
            _add_abnormality(film, match[4].upper(), (match[5] or "").upper(), match.group(6, 7, 8))
    if not films:
        raise ValueError(f"{path} {FORM}; use the original file.")
    return list(films.values())


def _add_abnormality(film: Film, kind: str, severity: str, circle: Sequence[str | None]) -> None:
    if kind == "NORM":
        return
    if (film.pathology is not None and film.pathology != "malignant") or severity == "M":
        film.pathology = SEVERITIES.get(severity)
    if circle[0] is None or circle[1] is None or circle[2] is None:
        film.lacks_circle = True
        return
    column, row_from_below, radius = (int(text) for text in circle if text)
    film.circles.append((column + 0.5, SIDE - row_from_below - 0.5, float(radius)))


def read_mias_labels(folder: Path) -> list[Film]:
    """Reads the films from a flat `labels.csv`.

    Raises:
        ValueError: a column is missing, or a split, a label or circles are invalid.
    """
    return [_read_row(row, folder) for row in read_label_table(folder, COLUMNS)]


def _read_row(row: Row, folder: Path) -> Film:
    image, path = folder / row["image"], folder / FILE_NAME
    pathology = read_choice(row["label"], TASK_CLASSES["pathology"], "a label of", path) if row["label"] else None
    listed = _listed_circles(row["rois_json"], path)
    circles = [(x, y, radius) for x, y, radius in listed if x is not None and y is not None and radius is not None]
    patient, density = id_text(row["patient_id"]), row["density_mias"].upper()
    film = Film(image.stem, patient, row["laterality_from_number"], density, pathology, circles)
    film.lacks_circle = len(circles) < max(len(listed), int(pathology != "normal"))
    film.image, film.split = image, row["split"]
    return film


def _listed_circles(text: str, path: Path) -> list[tuple[float | None, float | None, float | None]]:
    """Parses circles from '[{"cx": ..., "cy": ..., "r": ...}]', in which null means unknown."""
    try:
        return [(entry["cx"], entry["cy"], entry["r"]) for entry in json.loads(text or "[]")]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f'{path} expects circles as [{{"cx": ..., "cy": ..., "r": ...}}], got {text!r}.') from error
