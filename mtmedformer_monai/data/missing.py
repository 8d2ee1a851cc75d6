"""Recognizes missing values as written by JSON, pandas and spreadsheets."""

from __future__ import annotations

import math
import re
from numbers import Real
from typing import Any

MISSING_WORDS = frozenset(
    {"", "nan", "-nan", "na", "n/a", "#n/a", "#na", "<na>", "nat", "null", "none", "1.#ind", "-1.#ind", "#n/a n/a"}
)
"""Text, in lower case, that `pandas.read_csv` reads as a missing value, or that pandas writes for one."""

_WHOLE = re.compile(r"(\d+)\.0+")


def is_null(value: Any) -> bool:
    """Returns whether a value in a datalist is null: None, NaN, or blank text.

    Example:
        >>> [is_null(value) for value in (None, float("nan"), " ", 0, "none")]
        [True, True, True, False, False]
    """
    if value is None or str(value) in {"<NA>", "NaT"}:
        return True
    if isinstance(value, str):
        return not value.strip()
    return isinstance(value, Real) and math.isnan(value)


def is_missing(value: Any) -> bool:
    """Returns whether an identifier or a table cell is missing: null, or a word that denotes a missing value.

    Example:
        >>> [is_missing(value) for value in ("NaN", "N/A", float("nan"), None, "p1", 0)]
        [True, True, True, True, False, False]
    """
    return is_null(value) or str(value).strip().lower() in MISSING_WORDS


def id_text(value: Any) -> str:
    """Returns the identifier of a patient or a study as text; '' if it is missing.

    pandas converts integers to floats in columns with missing values, so 12, 12.0, '12' and '12.0' are the same
    identifier.

    Example:
        >>> [id_text(value) for value in (12.0, "12", "12.0", "0012", "1.2.0", float("nan"), "None")]
        ['12', '12', '12', '0012', '1.2.0', '', '']
    """
    if is_missing(value):
        return ""
    text = str(value).strip()
    whole = _WHOLE.fullmatch(text)
    return whole[1] if whole else text
