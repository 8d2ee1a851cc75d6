"""What a header's Patient Orientation says of how a mammogram was stored."""

from __future__ import annotations

from typing import Any

from mtmedformer_monai.transforms.dicom.code_strings import read_codes

from .turns import Turn

_DIRECTIONS = frozenset("APRLHF")


def read_patient_orientation(header: Any) -> str:
    r"""Directions toward which rows and columns run, such as 'P\FL'; '' where it says none (PS3.3 C.7.6.1.1.1).

    The letters are Anterior, Posterior, Right, Left, Head and Foot, of the patient; the first of several counts most.

    Args:
        header: pydicom Dataset.
    """
    codes = read_codes(header, "PatientOrientation")
    if len(codes) != 2:
        return ""
    rows, columns = codes
    is_known = bool(rows) and bool(columns) and set(rows) | set(columns) <= _DIRECTIONS
    return f"{rows}\\{columns}" if is_known else ""


def turn_of_orientation(orientation: str, laterality: str = "") -> Turn | None:
    r"""The turn that lays the chest wall on the left and the head, or in views from above the lateral side, on top.

    That is how a left breast is hung. A right one comes out as its mirror image.

    Args:
        orientation: what `read_patient_orientation` gives.
        laterality: 'L', 'R' or ''; views from above (CC) are known to be upside down by it alone.

    Returns:
        None where the orientation does not tell front from back.

    Example:
        >>> turn_of_orientation("P\\FL")
        Turn(transpose=False, flip_x=True, flip_y=False)
    """
    rows, _, columns = orientation.partition("\\")
    transpose = rows[:1] not in {"A", "P"} and columns[:1] in {"A", "P"}
    if transpose:
        rows, columns = columns, rows
    if rows[:1] not in {"A", "P"}:
        return None
    return Turn(transpose, flip_x=rows[0] == "P", flip_y=_is_upside_down(columns, laterality))


def _is_upside_down(downwards: str, laterality: str) -> bool:
    """Whether the direction that runs downwards is headwards, or else lateral."""
    if "H" in downwards or "F" in downwards:
        return "H" in downwards
    return bool(laterality) and downwards[:1] == laterality
