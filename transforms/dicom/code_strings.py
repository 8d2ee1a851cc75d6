"""Reads and normalizes the code strings of a DICOM header."""

from __future__ import annotations

from typing import Any

_PADDING = " \t\r\n\0"


def read_code(header: Any, keyword: str) -> str:
    """Reads the first non-empty value of a code string (VR CS, UI, SH), or '' if there is none.

    Leading and trailing spaces are not significant, and code strings have no lower case (DICOM PS3.5 6.2). NUL bytes,
    tabs and line breaks, which nonconformant files contain, are removed.

    Args:
        header: pydicom Dataset, or an item of a sequence.
        keyword: keyword of the element.

    Example:
        >>> read_code({"PhotometricInterpretation": " monochrome1"}, "PhotometricInterpretation")
        'MONOCHROME1'
    """
    value = header.get(keyword)
    if value is None or value == "":
        return ""
    return next(filter(None, _split(value)), "")


def read_codes(header: Any, keyword: str) -> tuple[str, ...]:
    """Reads all values of a code string, normalized as in `read_code`; empty values at the end are dropped."""
    codes = _split(header.get(keyword))
    while codes and not codes[-1]:
        codes.pop()
    return tuple(codes)


def _split(value: Any) -> list[str]:
    """Returns the normalized values of an element of any value multiplicity."""
    if value is None:
        return []
    parts = value if not isinstance(value, (str, bytes)) and hasattr(value, "__iter__") else (value,)
    return [_normalize(code) for part in parts for code in _as_text(part).split("\\")]


def _as_text(part: Any) -> str:
    return part.decode("latin-1") if isinstance(part, bytes) else str(part)


def _normalize(code: str) -> str:
    """Normalizes one code; anything after an embedded NUL is a remnant of the writer's buffer and is dropped."""
    return code.strip(_PADDING).partition("\0")[0].strip(_PADDING).upper()
