"""VOI LUT: maps values of interest to [0, 1] by the VOI LUT Sequence or a window."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtmedformer_monai.transforms.dicom.code_strings import read_code

from .lookup_table import Lookup
from .modality_lut import read_modality_range


def apply_voi_lut(values: NDArray[Any], header: Any, index: int = 0) -> NDArray[np.float64] | None:
    """Applies the VOI LUT Module (DICOM PS3.3 C.11.2) to modality values.

    The alternatives are the items of the VOI LUT Sequence or, if there are none, the windows. If a header contains
    both, its lookup tables are the exact curves of the manufacturer, and its windows are approximations.

    Args:
        values: values after the Modality LUT, any shape.
        header: pydicom Dataset.
        index: index of the alternative; the first one is the manufacturer's default.

    Returns:
        Array of the same shape, in [0, 1], where 0 and 1 are the ends of the output range; None if the header contains
        neither lookup tables nor windows.

    Raises:
        IndexError: the header has fewer alternatives.
    """
    tables = _read_tables(header)
    windows = read_windows(header)
    if not tables and not windows:
        return None
    if not 0 <= index < len(tables or windows):
        raise IndexError(f"VOI alternative {index} was requested, but there are {len(tables or windows)}")
    if tables:
        return tables[index](values) / (2.0 ** tables[index].bits - 1.0)
    return apply_window(values, *windows[index], read_code(header, "VOILUTFunction") or "LINEAR")


def _read_tables(header: Any) -> list[Lookup]:
    """Reads the usable items of the VOI LUT Sequence."""
    items = header.get("VOILUTSequence") or ()
    inputs = read_modality_range(header) if items else None
    lookups = (Lookup.from_item(item, header, inputs) for item in items)
    return [lookup for lookup in lookups if lookup is not None]


def read_windows(header: Any) -> list[tuple[float, float]]:
    """Reads the windows (center, width) of a header; invalid ones (with a width of 0 or less) are ignored."""
    pairs = zip(_numbers(header.get("WindowCenter")), _numbers(header.get("WindowWidth")), strict=False)
    return [(center, width) for center, width in pairs if np.isfinite(center) and 0 < width < np.inf]


def apply_window(values: NDArray[Any], center: float, width: float, function: str = "LINEAR") -> NDArray[np.float64]:
    """Maps values to [0, 1] by one window.

    Args:
        values: any shape.
        center: Window Center.
        width: Window Width, above 0.
        function: VOI LUT Function: LINEAR (PS3.3 C.11.2.1.2.1), SIGMOID (C.11.2.1.3.1) or LINEAR_EXACT (C.11.2.1.3.2).
            An unknown function is treated as LINEAR, the default.

    Example:
        >>> apply_window(np.array([0, 2047, 2048, 4095]), 2048, 4096).round(4).tolist()
        [0.0, 0.4999, 0.5001, 1.0]
    """
    x = values.astype(np.float64)
    if function == "SIGMOID":
        with np.errstate(over="ignore"):
            return 1.0 / (1.0 + np.exp(np.clip(-4.0 * (x - center) / width, -700.0, 700.0)))
    if function != "LINEAR_EXACT":
        center, width = center - 0.5, width - 1.0
    if width <= 0.0:  # a LINEAR window of width 1 is a step
        return (x > center).astype(np.float64)
    with np.errstate(over="ignore"):  # narrow windows are steps
        return np.clip((x - center) / width + 0.5, 0.0, 1.0)


def _numbers(value: Any) -> list[float]:
    """Converts a DS value of any multiplicity to floats; an empty list if it is missing or empty."""
    if value is None or value == "":
        return []
    if isinstance(value, (str, int, float)):
        return [float(value)]
    try:
        return [float(number) for number in value]
    except TypeError:
        return [float(value)]
