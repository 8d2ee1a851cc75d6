"""Pixel spacing of a projection radiograph, in the plane of the patient if the header allows it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def read_spacing_mm(header: Any) -> NDArray[np.float64]:
    """Reads the row and column spacing in mm, NaN if unknown (DICOM PS3.3 10.7.1.1 and 10.7.1.3).

    The sources are, in order of precedence:

    1. Pixel Spacing, if it differs from Imager Pixel Spacing or occurs alone: it is calibrated in the patient.
    2. Imager Pixel Spacing, which is measured at the detector. It is divided by the Estimated Radiographic
       Magnification Factor (PS3.3 C.8.7.10.1.4 for XA, C.8.11.7 for MG) or, if that is missing, by the ratio of the
       distances from the source to the detector and to the patient, which defines the factor.
    3. Nominal Scanned Pixel Spacing of a digitized film (PS3.3 C.8.6.1).

    Args:
        header: pydicom Dataset.

    Returns:
        float64 (2,): spacing between rows, between columns.
    """
    pixel, imager = _pair(header.get("PixelSpacing")), _pair(header.get("ImagerPixelSpacing"))
    if pixel is not None and (imager is None or not np.allclose(pixel, imager, rtol=1e-6)):
        return pixel
    if imager is not None:
        return imager / _magnification(header)
    scanned = _pair(header.get("NominalScannedPixelSpacing"))
    return np.full(2, np.nan) if scanned is None else scanned


def _pair(value: Any) -> NDArray[np.float64] | None:
    """Returns two finite lengths above 0, or None if the value is not such a pair."""
    try:
        pair = np.array([float(length) for length in value], dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return pair if pair.shape == (2,) and bool(np.all(np.isfinite(pair) & (pair > 0))) else None


def _magnification(header: Any) -> float:
    """Returns the geometric magnification at the detector, or 1 if it is unknown."""
    factor = read_length(header, "EstimatedRadiographicMagnificationFactor")
    if factor is None:
        detector = read_length(header, "DistanceSourceToDetector")
        patient = read_length(header, "DistanceSourceToPatient")
        factor = detector / patient if detector and patient else None
    return factor if factor is not None and factor >= 1.0 else 1.0


def read_length(header: Any, keyword: str) -> float | None:
    """Reads a finite number above 0, or returns None if the header has no such value."""
    try:
        number = float(header.get(keyword))
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) and number > 0 else None
