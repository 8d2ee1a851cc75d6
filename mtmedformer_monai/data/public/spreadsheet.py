"""Reads a table from an Excel file (.xlsx: Office Open XML, ECMA-376), as the text of its cells."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

from .label_table import Row, check_size, rows_of

_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"


def read_sheet(path: Path, sheet: str, columns: Sequence[str], optional: Sequence[str] = ()) -> list[Row]:
    """Reads the rows of a sheet, keyed by the titles in its first row.

    Args:
        path: path of the .xlsx file.
        sheet: name of the sheet; the first sheet is used if there is none with this name.
        columns: titles of the required columns, matched by letters and digits only.
        optional: titles of optional columns.

    Returns:
        Rows as {title: text}, with numbers and text as stored, without surrounding spaces, and '' for missing values.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is not an .xlsx file, has no rows, a column is missing, or it is larger than
            `limits.MAX_TABLE_BYTES` when unpacked.
    """
    try:
        with zipfile.ZipFile(path) as book:
            check_size(path, sum(part.file_size for part in book.infolist()))
            shared = _shared_strings(book)
            cells = [_cells(row, shared) for row in _sheet_root(book, sheet).iter(f"{_MAIN}row")]
    except (zipfile.BadZipFile, KeyError, ElementTree.ParseError) as error:
        raise ValueError(f"{path} expects an Excel file (.xlsx); use the original file.") from error
    order = list(cells[0]) if cells else []
    lines = [[row.get(column, "") for column in order] for row in cells if row]
    return rows_of(path, lines, columns, optional)


def _sheet_root(book: zipfile.ZipFile, sheet: str) -> ElementTree.Element:
    """Returns the XML of the sheet with the given name, or of the first sheet."""
    targets = {
        relation.get("Id"): relation.get("Target", "")
        for relation in ElementTree.fromstring(book.read("xl/_rels/workbook.xml.rels"))
    }
    listed = list(ElementTree.fromstring(book.read("xl/workbook.xml")).iter(f"{_MAIN}sheet"))
    if not listed:
        raise KeyError(sheet)
    chosen = next((entry for entry in listed if entry.get("name") == sheet), listed[0])
    target = targets[chosen.get(_RELATION)]
    return ElementTree.fromstring(book.read(target.lstrip("/") if target.startswith("/") else f"xl/{target}"))


def _shared_strings(book: zipfile.ZipFile) -> list[str]:
    if "xl/sharedStrings.xml" not in book.namelist():
        return []
    root = ElementTree.fromstring(book.read("xl/sharedStrings.xml"))
    return [_text(entry) for entry in root.iter(f"{_MAIN}si")]


def _cells(row: ElementTree.Element, shared: list[str]) -> dict[str, str]:
    """Returns {column letters: text} of the non-empty cells of a row."""
    return dict(_filled(row, shared))


def _filled(row: ElementTree.Element, shared: list[str]) -> Iterator[tuple[str, str]]:
    for cell in row.iter(f"{_MAIN}c"):
        value = cell.findtext(f"{_MAIN}v", "")
        inline = cell.find(f"{_MAIN}is")
        text = _text(inline) if inline is not None else shared[int(value)] if cell.get("t") == "s" else value
        if text.strip():
            yield re.sub(r"\d", "", cell.get("r", "")), text.strip()


def _text(element: ElementTree.Element) -> str:
    """Joins all text runs, without phonetic ones."""
    runs = [*element.findall(f"{_MAIN}t"), *element.findall(f"{_MAIN}r/{_MAIN}t")]
    return "".join(run.text or "" for run in runs)
