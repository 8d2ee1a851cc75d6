"""Reads a set that lies flat: one `labels.csv`, a row an image, a `split` column."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

Row = dict[str, str]

FILE_NAME = "labels.csv"
SECTION_OF_SPLIT = {"train": "training", "val": "validation", "test": "test"}


def has_label_table(folder: Path) -> bool:
    """Whether a folder is laid out flat."""
    return (folder / FILE_NAME).is_file()


def read_label_table(folder: Path, columns: Sequence[str]) -> list[Row]:
    """Reads the rows of a folder's `labels.csv`.

    Args:
        folder: of the set.
        columns: that the caller needs, beside `image` and `split`.

    Raises:
        ValueError: a column is missing, or a split has another name.
    """
    rows = read_table(folder / FILE_NAME, ["image", "split", *columns])
    unknown = {row["split"] for row in rows} - set(SECTION_OF_SPLIT)
    if unknown:
        raise ValueError(f"{folder / FILE_NAME} expects splits {list(SECTION_OF_SPLIT)}, got {sorted(unknown)}.")
    return rows


def read_table(path: Path, columns: Sequence[str], delimiter: str = ",") -> list[Row]:
    """Reads a CSV file with a header; spaces around titles and cells go.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it has no rows, or a column is missing.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path.parent} expects the set's table {path.name}; fetch it, and put it there.")
    with path.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream, restval="", delimiter=delimiter)
        rows = [{title.strip(): cell.strip() for title, cell in row.items() if title is not None} for row in reader]
    check_columns(path, rows, columns)
    return rows


def check_columns(path: Path, rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Refuses a table without rows or without a column.

    Raises:
        ValueError: so it is.
    """
    missing = [name for name in columns if not rows or name not in rows[0]]
    if missing:
        raise ValueError(f"{path} expects rows with the columns {missing}; fetch the set's own file.")
