"""Normalization of the names of views and sides."""

from __future__ import annotations

from typing import Any

from .dicom.codes import VIEWS

_MAMMOGRAPHY_VIEWS = frozenset({"CC", "MLO", "ML", "LM", "LMO", "FB", "SIO", "ISO", "XCCL", "XCCM", "XCC"})
_KNOWN_VIEWS = _MAMMOGRAPHY_VIEWS | frozenset(VIEWS)
_LONG_NAMES = {
    "CRANIOCAUDAL": "CC", "MEDIOLATERALOBLIQUE": "MLO", "MEDIOLATERAL": "ML", "LATEROMEDIAL": "LM",
    "LATEROMEDIALOBLIQUE": "LMO", "POSTEROANTERIOR": "PA", "ANTEROPOSTERIOR": "AP", "LATERAL": "LAT",
}  # fmt: skip


def normalize_view(text: Any) -> str:
    """Returns the short name of a view; an unknown view is returned in upper case.

    Case and characters other than letters and digits are ignored. A side before a mammographic view is dropped (RCC,
    L-MLO), and so is the suffix ID for displaced implants (CCID).

    Args:
        text: View Position of a header, or the view in a datalist; None counts as ''.

    Example:
        >>> normalize_view("l-mlo"), normalize_view("LMO"), normalize_view("Cranio-Caudal"), normalize_view("LLO")
        ('MLO', 'LMO', 'CC', 'LLO')
    """
    name = "".join(character for character in str(text or "").upper() if character.isalnum())
    name = _LONG_NAMES.get(name, name)
    if name in _KNOWN_VIEWS:
        return name
    bare = name[1:] if name[:1] in {"L", "R"} else name
    bare = bare.removesuffix("ID")
    return bare if bare in _MAMMOGRAPHY_VIEWS else name


def is_known_view(name: str) -> bool:
    """Returns whether a normalized name is a known view."""
    return name in _KNOWN_VIEWS


def normalize_laterality(text: Any) -> str:
    """Normalizes the side in a header or datalist to 'L', 'R', 'B' or ''.

    Example:
        >>> normalize_laterality("left"), normalize_laterality("R"), normalize_laterality("U")
        ('L', 'R', '')
    """
    name = str(text or "").strip().upper()
    return {"LEFT": "L", "RIGHT": "R", "BOTH": "B"}.get(name, name if name in {"L", "R", "B"} else "")
