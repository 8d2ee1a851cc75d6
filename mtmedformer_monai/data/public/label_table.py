"""Reads tables of public datasets: CSV, as published or saved again by spreadsheets and pandas, or Excel files."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from mtmedformer_monai.data.missing import is_missing
from mtmedformer_monai.transforms.limits import MAX_TABLE_BYTES

Row = dict[str, str]

FILE_NAME = "labels.csv"
FILE_COLUMNS = ("image", "mask_lung")
"""Columns of `labels.csv` that name files, relative to its folder."""

SECTION_OF_SPLIT = {"train": "training", "val": "validation", "test": "test"}
_ZIP, _OLD_EXCEL = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
"""Magic bytes of Excel files, which may have any extension, such as .csv."""

DELIMITERS = (",", ";", "\t", "|")


def has_label_table(folder: Path) -> bool:
    """Returns whether a folder has the flat layout: one `labels.csv` with one row per image and a `split` column."""
    return (folder / FILE_NAME).is_file()


def read_label_table(folder: Path, columns: Sequence[str]) -> list[Row]:
    """Reads the rows of a folder's `labels.csv`.

    Args:
        folder: dataset folder.
        columns: required columns in addition to `image` and `split`.

    Raises:
        ValueError: a column is missing, a row has no image, a file is outside of the folder, or a split is unknown.
    """
    path = folder / FILE_NAME
    rows = read_table(path, ["image", "split", *columns])
    if not all(row["image"] for row in rows):
        raise ValueError(f"{path} expects an image in every row; fix the rows without one.")
    root = Path(os.path.normpath(folder.absolute()))
    for name in (row[column] for row in rows for column in FILE_COLUMNS if row.get(column)):
        if not Path(os.path.normpath(root / name)).is_relative_to(root):  # links inside the folder may lead outside
            raise ValueError(f"{path} expects files inside its folder, got {name!r}; copy or link the file there.")
    return [row | {"split": read_choice(row["split"], SECTION_OF_SPLIT, "splits", path)} for row in rows]


def read_table(
    path: Path, columns: Sequence[str], optional: Sequence[str] = (), delimiter: str = "", sheet: str = ""
) -> list[Row]:
    """Reads a table with a header row from a CSV or .xlsx file.

    Supported encodings are UTF-8 with or without byte order mark, UTF-16 with byte order mark, and Windows-1252;
    supported delimiters are commas, semicolons, tabs and vertical bars. Columns may be in any order, and their titles
    are matched by letters and digits only. Cells are stripped, and set to '' if they are missing (`is_missing`).

    Args:
        path: path of the file.
        columns: titles of the required columns, which are also the keys of the rows.
        optional: titles of optional columns.
        delimiter: delimiter of the cells; detected if empty.
        sheet: name of the sheet in an Excel file; the first sheet is used if there is none with this name.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the table has no rows, a column is missing, the file has the Excel format used before 2007, or it is
            larger than `MAX_TABLE_BYTES`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path.parent} expects the dataset's table {path.name}; download it to this folder.")
    check_size(path, path.stat().st_size)
    content = path.read_bytes()
    if content.startswith(_OLD_EXCEL):
        raise ValueError(
            f"{path} expects CSV or .xlsx, got an Excel file from before 2007; open it and save it as .xlsx."
        )
    if content.startswith(_ZIP):
        from .spreadsheet import read_sheet

        return read_sheet(path, sheet, columns, optional)
    text = _decode(content)
    delimiter = delimiter or _find_delimiter(text, columns)
    lines = [[cell.strip() for cell in line] for line in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)]
    return rows_of(path, [line for line in lines if any(line)], columns, optional)


def check_size(path: Path, size: int) -> None:
    """Refuses a table of an implausible size, before memory is allocated for it.

    Raises:
        ValueError: the size in bytes is above `MAX_TABLE_BYTES`.
    """
    if size > MAX_TABLE_BYTES:
        raise ValueError(f"{path} expects at most {MAX_TABLE_BYTES:,} bytes, got {size:,}; use the original table.")


def rows_of(
    path: Path, lines: Sequence[Sequence[str]], columns: Sequence[str], optional: Sequence[str] = ()
) -> list[Row]:
    """Converts lines of cells, the first of which contains the titles, to rows {title: text}.

    Raises:
        ValueError: there are no rows, or a column is missing.
    """
    titles = _canonical(_spread(lines[0]) if lines else [], [*columns, *optional])
    missing = [name for name in columns if name not in titles or len(lines) < 2]
    if missing:
        found = [title for title in titles if title]
        raise ValueError(
            f"{path} expects rows with the columns {missing}, found {len(lines[1:])} rows with {found}; "
            "use the dataset's original file."
        )
    blank = dict.fromkeys(filter(None, titles), "")
    return [blank | _known(titles, line) for line in lines[1:]]


def read_choice(text: str, choices: Iterable[str], what: str, path: Path) -> str:
    """Returns the choice given in a cell, ignoring case.

    Raises:
        ValueError: the cell contains none of the choices.
    """
    known = {choice.casefold(): choice for choice in choices}
    if text.casefold() not in known:
        raise ValueError(
            f"{path} expects {what} {list(known.values())}, got {[text]}; fix the row, or use the original file."
        )
    return known[text.casefold()]


def read_number(row: Row, column: str, path: Path) -> float | None:
    """Returns the number in a cell, with a decimal point or comma; None if the cell is empty.

    Raises:
        ValueError: the cell does not contain a finite number.
    """
    text = row[column]
    if not text:
        return None
    # `float` would also accept 1_0, inf and the digits of other scripts.
    if not re.fullmatch(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?", text, re.ASCII):
        raise ValueError(f"{path} expects numbers in the column {column!r}, got {text!r}; use the original table.")
    return float(text.replace(",", "."))


def _decode(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _find_delimiter(text: str, columns: Sequence[str]) -> str:
    """Returns the delimiter for which the header contains the most of the required columns."""
    header = next((line for line in text.splitlines() if line.strip()), "")
    wanted = {_plain(column) for column in columns}

    def count(delimiter: str) -> tuple[int, int]:
        titles = next(csv.reader([header], delimiter=delimiter), [])
        return len(wanted & {_plain(title) for title in _spread(titles)}), len(titles)

    return max(DELIMITERS, key=count)


def _plain(title: str) -> str:
    return re.sub(r"[^a-z0-9]", "", title.casefold())


def _spread(titles: Sequence[str]) -> list[str]:
    """Splits titles that cover several cells, such as 'Bbox [x,y,w,h]' followed by three blank titles."""
    named = ["" if title.startswith("Unnamed: ") else title for title in titles]
    for index, title in enumerate(named):
        parts = title.split(",")
        if len(parts) > 1 and len(named) >= index + len(parts) and not any(named[index + 1 : index + len(parts)]):
            named[index : index + len(parts)] = parts
    return named


def _canonical(titles: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Returns the titles with the required spelling; repeated titles are replaced by ''."""
    spelling = {_plain(name): name for name in wanted}
    named = [spelling.get(_plain(title), title.strip()) for title in titles]
    return [title if title not in named[:index] else "" for index, title in enumerate(named)]


def _known(titles: Sequence[str], cells: Sequence[str]) -> Row:
    return {
        title: "" if is_missing(cell) else cell.strip() for title, cell in zip(titles, cells, strict=False) if title
    }
