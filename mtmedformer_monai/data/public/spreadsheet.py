"""Reads a table out of an Excel file (.xlsx: Office Open XML, ECMA-376), cell texts alone."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

from .label_table import Row, rows_of

_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"


def read_sheet(path: Path, sheet: str, columns: Sequence[str], optional: Sequence[str] = ()) -> list[Row]:
    """Reads the rows of a sheet by the titles in its first row.

    Args:
        path: of the .xlsx file.
        sheet: its name; the first one is read where there is none of this name.
        columns: that the caller needs; titles are told apart by letters and digits alone.
        optional: titles that are wanted where they exist.

    Returns:
        Rows as {title: text}; numbers and text as they are stored, without the spaces around them, and empty where
        they say that nothing is known.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no .xlsx file, has no rows, or a column is missing.
    """
    try:
        with zipfile.ZipFile(path) as book:
            shared = _shared_strings(book)
            cells = [_cells(row, shared) for row in _sheet_root(book, sheet).iter(f"{_MAIN}row")]
    except (zipfile.BadZipFile, KeyError, ElementTree.ParseError) as error:
        raise ValueError(f"{path} expects an Excel file (.xlsx); fetch the set's own file.") from error
    order = list(cells[0]) if cells else []
    lines = [[row.get(column, "") for column in order] for row in cells if row]
    return rows_of(path, lines, columns, optional)


def _sheet_root(book: zipfile.ZipFile, sheet: str) -> ElementTree.Element:
    """The sheet of a name, or the first: the workbook names sheets and, by relation, their files."""
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
    """{column letters: text} of the cells that hold any."""
    return dict(_filled(row, shared))


def _filled(row: ElementTree.Element, shared: list[str]) -> Iterator[tuple[str, str]]:
    for cell in row.iter(f"{_MAIN}c"):
        value = cell.findtext(f"{_MAIN}v", "")
        inline = cell.find(f"{_MAIN}is")
        text = _text(inline) if inline is not None else shared[int(value)] if cell.get("t") == "s" else value
        if text.strip():
            yield re.sub(r"\d", "", cell.get("r", "")), text.strip()


def _text(element: ElementTree.Element) -> str:
    """All runs of a text, without the phonetic ones."""
    runs = [*element.findall(f"{_MAIN}t"), *element.findall(f"{_MAIN}r/{_MAIN}t")]
    return "".join(run.text or "" for run in runs)
