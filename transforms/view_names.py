"""Names of views and sides: many ways of writing to one."""

from __future__ import annotations

from typing import Any

# Codes of DICOM CID 4010 (DX view) and CID 4014 (mammography view), SNOMED CT first, then SNOMED RT of older files.
_CODES = {
    "PA": ("272479007", "R-40888"), "AP": ("399348003", "R-10206"), "LL": ("399173006", "R-10236"),
    "RL": ("399198007", "R-10232"), "LAT": ("399067008", "R-102CD"),
    "CC": ("399162004", "R-10242"), "MLO": ("399368009", "R-10226"), "ML": ("399260004", "R-10224"),
    "LM": ("399352003", "R-10228"), "LMO": ("399099002", "R-10230"), "FB": ("399196006", "R-10244"),
    "SIO": ("399188001", "R-102D0"), "ISO": ("441555000", "R-40AAA"), "XCCL": ("399192008", "R-1024A"),
    "XCCM": ("399101009", "R-1024B"), "SPECIMEN": ("127457009", "G-8310", "119376003", "G-8300"),
}  # fmt: skip
VIEW_OF_CODE = {code: view for view, codes in _CODES.items() for code in codes}

_MAMMOGRAPHY_VIEWS = frozenset({"CC", "MLO", "ML", "LM", "LMO", "FB", "SIO", "ISO", "XCCL", "XCCM", "XCC"})
_KNOWN_VIEWS = _MAMMOGRAPHY_VIEWS | frozenset(_CODES)
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
