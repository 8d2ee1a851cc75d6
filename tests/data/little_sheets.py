"""Writes small Excel files for the tests in this folder."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

_MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"

Cell = str | int


def write_sheet(path: Path, sheets: Mapping[str, Sequence[Sequence[Cell]]], shared: bool = True) -> Path:
    """Writes {sheet: rows}, with text as shared or inline strings. Empty text yields no cell."""
    path.parent.mkdir(parents=True, exist_ok=True)
    strings: list[str] = []
    listed = "".join(f'<sheet name="{name}" sheetId="{n}" r:id="rId{n}"/>' for n, name in enumerate(sheets, 1))
    related = "".join(f'<Relationship Id="rId{n}" Target="worksheets/s{n}.xml"/>' for n in range(1, len(sheets) + 1))
    with zipfile.ZipFile(path, "w") as book:
        book.writestr("xl/workbook.xml", f'<workbook {_MAIN} xmlns:r="{_OFFICE}"><sheets>{listed}</sheets></workbook>')
        book.writestr("xl/_rels/workbook.xml.rels", f'<Relationships xmlns="{_PACKAGE}">{related}</Relationships>')
        for number, rows in enumerate(sheets.values(), 1):
            cells = "".join(f"<row>{_row(row, n, strings, shared)}</row>" for n, row in enumerate(rows, 1))
            book.writestr(
                f"xl/worksheets/s{number}.xml", f"<worksheet {_MAIN}><sheetData>{cells}</sheetData></worksheet>"
            )
        # Text may consist of several runs, one per format.
        entries = "".join(
            f"<si><r><t>{escape(text[:1])}</t></r><r><t>{escape(text[1:])}</t></r></si>" for text in strings
        )
        if shared:
            book.writestr("xl/sharedStrings.xml", f"<sst {_MAIN}>{entries}</sst>")
    return path


def _row(row: Sequence[Cell], number: int, strings: list[str], shared: bool) -> str:
    return "".join(_cell(cell, f"{chr(65 + n)}{number}", strings, shared) for n, cell in enumerate(row) if cell != "")


def _cell(cell: Cell, place: str, strings: list[str], shared: bool) -> str:
    if isinstance(cell, int):
        return f'<c r="{place}"><v>{cell}</v></c>'
    if not shared:
        return f'<c r="{place}" t="inlineStr"><is><t>{escape(cell)}</t></is></c>'
    strings.append(cell)
    return f'<c r="{place}" t="s"><v>{len(strings) - 1}</v></c>'
