"""Names of views and sides: many ways of writing to one."""

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
    """A view's short name; what is no known view comes back in capitals.

    Case, blanks, hyphens and underscores don't count. A side before a mammographic view is dropped (RCC, L-MLO), and so
    are the letters that technologists put behind for displaced implants (CCID).

    Args:
        text: View Position of a header, or what a datalist says; None is ''.

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
    """Whether a normalized name is one that DICOM's view codes have."""
    return name in _KNOWN_VIEWS


def normalize_laterality(text: Any) -> str:
    """'L', 'R', 'B' or '' of what a header or a datalist says.

    Example:
        >>> normalize_laterality("left"), normalize_laterality("R"), normalize_laterality("U")
        ('L', 'R', '')
    """
    name = str(text or "").strip().upper()
    return {"LEFT": "L", "RIGHT": "R", "BOTH": "B"}.get(name, name if name in {"L", "R", "B"} else "")
