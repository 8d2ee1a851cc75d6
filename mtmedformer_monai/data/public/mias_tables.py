"""Reads what mini-MIAS tells of its films, from `Info.txt` or from a flat table."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .label_table import Row, read_label_table

SIDE = 1024
"""Rows and columns of a film as published."""

COLUMNS = ("label", "density_mias", "rois_json", "patient_id", "laterality_from_number")
SEVERITIES = {"B": "benign", "M": "malignant"}

Circle = tuple[float, float, float]
"""x, y and radius in pixels from the top left; pixel i covers [i, i + 1)."""

# mdb001 G CIRC B 535 425 197
_LINE = re.compile(r"(mdb(\d{3}))\s+([FGD])\s+([A-Z]{4})(?:\s+([BM]))?(?:\s+(\d+)\s+(\d+)\s+(\d+))?")


@dataclass
class Film:
    """One film.

    Attributes:
        name: as `mdb001`.
        patient_id: of the woman.
        laterality: 'R' or 'L'.
        density: 'F', 'G' or 'D'.
        pathology: 'normal', 'benign' or 'malignant'; the worst of its abnormalities.
        circles: around its abnormalities.
        lacks_circle: an abnormality has none.
        image: its file.
        split: 'train', 'val' or 'test', where the table tells.
    """

    name: str
    patient_id: str
    laterality: str
    density: str
    pathology: str = "normal"
    circles: list[Circle] = field(default_factory=list)
    lacks_circle: bool = False
    image: Path = Path()
    split: str = ""


def read_info(path: Path) -> list[Film]:
    """Films of the published `Info.txt`: prose, and a line an abnormality, whose origin is the bottom left.

    Raises:
        ValueError: no line is such a one.
    """
    films: dict[str, Film] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if match := _LINE.match(line.strip()):
            name, number = match[1], int(match[2])
            patient, laterality = f"mias{(number + 1) // 2:03d}", "R" if number % 2 else "L"
            film = films.setdefault(name, Film(name, patient, laterality, match[3]))
            _add_abnormality(film, match[4], match[5], match.group(6, 7, 8))
    if not films:
        raise ValueError(f"{path} expects lines as 'mdb001 G CIRC B 535 425 197'; fetch the set's own file.")
    return list(films.values())


def _add_abnormality(film: Film, kind: str, severity: str | None, circle: Sequence[str | None]) -> None:
    if kind == "NORM":
        return
    if severity is not None and film.pathology != "malignant":
        film.pathology = SEVERITIES[severity]
    if circle[0] is None or circle[1] is None or circle[2] is None:
        film.lacks_circle = True
        return
    column, row_from_below, radius = (int(text) for text in circle if text)
    film.circles.append((column + 0.5, SIDE - row_from_below - 0.5, float(radius)))


def read_mias_labels(folder: Path) -> list[Film]:
    """Films of a flat `labels.csv`.

    Raises:
        ValueError: a column is missing, or a split has another name.
    """
    return [_read_row(row, folder) for row in read_label_table(folder, COLUMNS)]


def _read_row(row: Row, folder: Path) -> Film:
    image, pathology = folder / row["image"], row["label"].lower()
    listed = [(entry["cx"], entry["cy"], entry["r"]) for entry in json.loads(row["rois_json"] or "[]")]
    circles = [circle for circle in listed if None not in circle]
    film = Film(image.stem, row["patient_id"], row["laterality_from_number"], row["density_mias"], pathology, circles)
    film.lacks_circle = len(circles) < max(len(listed), int(pathology != "normal"))
    film.image, film.split = image, row["split"]
    return film
