"""Patient Orientation: how a mammogram was stored, and how to bring it into the standard orientation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mtmedformer_monai.transforms.dicom.code_strings import read_codes

if TYPE_CHECKING:
    from .turns import Turn

_DIRECTIONS = frozenset("APRLHF")


def read_patient_orientation(header: Any) -> str:
    r"""Reads the directions in which rows and columns run, such as 'P\FL' (DICOM PS3.3 C.7.6.1.1.1).

    The letters stand for the patient's Anterior, Posterior, Right, Left, Head and Foot. Of several letters, the first
    is the main direction. The result is '' if the header gives no valid orientation.

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
    r"""Returns the turn that puts the chest wall on the left and the head at the top.

    In views from above (CC), the lateral side is at the top instead. This is the standard hanging of a left breast; a
    right breast becomes its mirror image.

    Args:
        orientation: as returned by `read_patient_orientation`.
        laterality: 'L', 'R' or ''. Views from above need it to recognize an image that is upside down.

    Returns:
        The turn, or None if the orientation does not distinguish anterior from posterior.

    Example:
        >>> turn_of_orientation("P\\FL")
        Turn(transpose=False, flip_x=True, flip_y=False)
    """
    from .turns import Turn  # imports MONAI, which admission rules do without

    rows, _, columns = orientation.partition("\\")
    transpose = rows[:1] not in {"A", "P"} and columns[:1] in {"A", "P"}
    if transpose:
        rows, columns = columns, rows
    if rows[:1] not in {"A", "P"}:
        return None
    return Turn(transpose, flip_x=rows[0] == "P", flip_y=_is_upside_down(columns, laterality))


def _is_upside_down(downwards: str, laterality: str) -> bool:
    """Returns whether the downward direction points to the head or, in views from above, to the lateral side."""
    if "H" in downwards or "F" in downwards:
        return "H" in downwards
    return bool(laterality) and downwards[:1] == laterality
