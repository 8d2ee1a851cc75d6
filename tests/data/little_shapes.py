"""Writes VGG Image Annotator exports for the tests in this folder."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

TITLES = (
    "#filename",
    "file_size",
    "file_attributes",
    "region_count",
    "region_id",
    "region_shape_attributes",
    "region_attributes",
)


def write_via(path: Path, shapes: Sequence[tuple[str, dict]]) -> Path:
    """Writes an export with (file name, shape) entries."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(TITLES)
        writer.writerows([name, 1, "{}", 1, 0, json.dumps(shape), "{}"] for name, shape in shapes)
    return path
