"""Code strings of a DICOM header, normalized in one place."""

from __future__ import annotations

from typing import Any

_PADDING = " \t\r\n\0"


def read_code(header: Any, keyword: str) -> str:
    """The first value of a code string (VR CS, UI, SH) that is not empty, or ''.

    Leading and trailing spaces are not significant, and code strings have no lower case (DICOM PS3.5 6.2). NUL bytes,
    tabs and line ends come from careless writers.

    Args:
        header: pydicom Dataset, or an item of a sequence.
        keyword: of the element.

    Example:
        >>> read_code({"PhotometricInterpretation": " monochrome1"}, "PhotometricInterpretation")
        'MONOCHROME1'
    """
    value = header.get(keyword)
    if value is None or value == "":
        return ""
    return next(filter(None, _split(value)), "")


def read_codes(header: Any, keyword: str) -> tuple[str, ...]:
    """All values of a code string, normalized as by `read_code`; empty ones at the end are left out."""
    codes = _split(header.get(keyword))
    while codes and not codes[-1]:
        codes.pop()
    return tuple(codes)


def _split(value: Any) -> list[str]:
    """The normalized values of an element of any multiplicity."""
    if value is None:
        return []
    parts = value if not isinstance(value, (str, bytes)) and hasattr(value, "__iter__") else (value,)
    return [_normalize(code) for part in parts for code in _as_text(part).split("\\")]


def _as_text(part: Any) -> str:
    return part.decode("latin-1") if isinstance(part, bytes) else str(part)


def _normalize(code: str) -> str:
    """What follows a NUL inside is left over in the writer's buffer."""
    return code.strip(_PADDING).partition("\0")[0].strip(_PADDING).upper()
