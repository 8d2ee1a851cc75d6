"""Decides what counts as missing: one place for the null of JSON, of pandas and of spreadsheets."""

from __future__ import annotations

import math
import re
from numbers import Real
from typing import Any

MISSING_WORDS = frozenset(
    {"", "nan", "-nan", "na", "n/a", "#n/a", "#na", "<na>", "nat", "null", "none", "1.#ind", "-1.#ind", "#n/a n/a"}
)
"""What `pandas.read_csv` takes for a missing value, and what pandas writes for one, in lower case."""

_WHOLE = re.compile(r"(\d+)\.0+")


def is_null(value: Any) -> bool:
    """Whether a value of a datalist says nothing: None, NaN, or blank text.

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
    """Whether an identifier or a table's cell is missing: null, or a word that stands for that.

    Example:
        >>> [is_missing(value) for value in ("NaN", "N/A", float("nan"), None, "p1", 0)]
        [True, True, True, True, False, False]
    """
    return is_null(value) or str(value).strip().lower() in MISSING_WORDS


def id_text(value: Any) -> str:
    """An identifier of a patient or a study as text; '' where it is missing.

    pandas turns whole numbers into floats where a column has gaps: 12, 12.0, '12' and '12.0' are one identifier.

    Example:
        >>> [id_text(value) for value in (12.0, "12", "12.0", "0012", "1.2.0", float("nan"), "None")]
        ['12', '12', '12', '0012', '1.2.0', '', '']
    """
    if is_missing(value):
        return ""
    text = str(value).strip()
    whole = _WHOLE.fullmatch(text)
    return whole[1] if whole else text
