"""Modality LUT: maps stored values to modality values by the Modality LUT Sequence, or rescale slope and intercept."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .context_vr import Range, read_stored_range
from .lookup_table import Lookup

_LARGEST = 1e30


class RescaleError(ValueError):
    """Rescale Slope and Rescale Intercept produce unusable values."""


def apply_modality_lut(values: NDArray[Any], header: Any) -> NDArray[Any]:
    """Applies the Modality LUT Module (DICOM PS3.3 C.11.1) to stored values; they are unchanged if there is none.

    The sequence takes precedence over slope and intercept. A header must contain only one of the two (PS3.3 C.11.1.1),
    and in files that contain both, the slope is 1 and the intercept 0.

    Args:
        values: stored values, any shape.
        header: pydicom Dataset.

    Returns:
        Array with the same shape; integers after a lookup table, float64 after a rescale.

    Raises:
        RescaleError: the rescaled values are not finite, or so large that their differences overflow.
    """
    lookup = _read_table(header)
    if lookup is not None:
        return lookup(values)
    if header.get("RescaleSlope") is None and header.get("RescaleIntercept") is None:
        return values
    slope, intercept = _read_rescale(header)
    with np.errstate(over="ignore", invalid="ignore"):
        rescaled = values.astype(np.float64) * slope + intercept
    if not np.all(np.abs(rescaled) <= _LARGEST):
        raise RescaleError("Rescale Slope and Rescale Intercept give values that are NaN or beyond 1e30")
    return rescaled


def read_modality_range(header: Any) -> Range:
    """Returns the range of possible output values of the Modality LUT Module, from the header only."""
    lookup = _read_table(header)
    if lookup is not None:
        return float(lookup.entries.min()), float(lookup.entries.max())
    slope, intercept = _read_rescale(header)
    low, high = sorted(slope * end + intercept for end in read_stored_range(header))
    return low, high


def _read_table(header: Any) -> Lookup | None:
    """Reads the first item of the Modality LUT Sequence, if it is usable."""
    sequence = header.get("ModalityLUTSequence")
    return Lookup.from_item(sequence[0], header) if sequence else None


def _read_rescale(header: Any) -> tuple[float, float]:
    """Reads the slope and intercept; 1 and 0 if they are missing."""
    slope, intercept = header.get("RescaleSlope"), header.get("RescaleIntercept")
    slope = 1.0 if slope is None else float(slope)
    if slope == 0.0:  # occurs in practice, and would erase the image
        slope = 1.0
    return slope, 0.0 if intercept is None else float(intercept)
