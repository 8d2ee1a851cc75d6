"""Parses all elements of a header at once, and reports numeric elements whose values are not numbers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pydicom

from mtmedformer_monai.transforms.errors import UnreadableFileError

from .functional_groups import FUNCTIONAL_GROUP_TAGS, lift_functional_groups
from .header import ALLOWED_TAGS, GEOMETRY_TAGS

_NUMERIC = frozenset({"DS", "IS", "US", "SS", "UL", "SL", "FD", "FL"})
_NUMBERS = frozenset(
    tag for tag in map(pydicom.tag.Tag, ALLOWED_TAGS) if pydicom.datadict.dictionary_VR(tag) in _NUMERIC
)


def convert_all(path: str | Path, header: Any) -> None:
    """Parses all values eagerly, and lifts the functional groups of a single frame.

    Geometry elements (lengths, distances and directions) that cannot be parsed are removed, because the image can be
    read without them.

    Args:
        path: the file, for messages.
        header: pydicom Dataset, modified in place.

    Raises:
        UnreadableFileError: an element cannot be parsed, or a numeric element (VR DS, IS, US, ...; PS3.5 6.2) contains
            a value that is not a finite number.
    """
    _lift(path, header)
    for tag in list(header.keys()):
        problem = _find_problem(header, tag)
        if problem and pydicom.datadict.keyword_for_tag(tag) in GEOMETRY_TAGS:
            del header[tag]
        elif problem:
            raise UnreadableFileError(path, f"its {_name(tag)} {problem}", "correct its header")


def _lift(path: str | Path, header: Any) -> None:
    try:
        lift_functional_groups(header)
    except Exception as error:  # the converters for the items raise many exception types
        names = " or ".join(pydicom.datadict.dictionary_description(tag) for tag in FUNCTIONAL_GROUP_TAGS)
        raise UnreadableFileError(path, f"its {names} does not parse", "correct its header") from error


def _find_problem(header: Any, tag: Any) -> str:
    """Describes the problem with an element, or returns ''."""
    try:
        element = header[tag]
        value = element.value
        for item in value if element.VR == "SQ" else ():
            list(item.iterall())
    except Exception:  # the converters for the values raise many exception types
        return "does not parse"
    if tag not in _NUMBERS or value is None or value == "":
        return ""
    invalid = next((number for number in _as_values(value) if not _is_number(number)), None)
    if invalid is None:
        return ""
    return "is NaN or infinite" if isinstance(invalid, float) else "is not a number (a decimal comma, an empty value?)"


def _as_values(value: Any) -> Any:
    """Returns the values of an element of any value multiplicity."""
    return value if not isinstance(value, (str, bytes)) and hasattr(value, "__iter__") else (value,)


def _is_number(value: Any) -> bool:
    """Returns whether pydicom converted a value to a finite number; invalid values remain text."""
    try:
        return not isinstance(value, (str, bytes)) and math.isfinite(value)
    except (TypeError, OverflowError):
        return False


def _name(tag: Any) -> str:
    known = pydicom.datadict.dictionary_has_tag(tag)
    return str(pydicom.datadict.dictionary_description(tag)) if known else "header"
