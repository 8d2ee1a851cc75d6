"""Pixel spacing of a projection radiograph, at the patient where the header lets one know it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def read_spacing_mm(header: Any) -> NDArray[np.float64]:
    """Row and column spacing in mm, NaN where unknown (DICOM PS3.3 10.7.1.1 and 10.7.1.3).

    1. Pixel Spacing that differs from Imager Pixel Spacing, or that stands alone, is calibrated at the patient.
    2. Imager Pixel Spacing is measured at the detector: it is divided by the Estimated Radiographic Magnification
       Factor where that is known (PS3.3 C.8.7.10.1.4 of XA, C.8.11.7 of MG), or by the ratio of the distances from
       the source to the detector and to the patient, which defines it.
    3. Nominal Scanned Pixel Spacing of a digitised film (PS3.3 C.8.6.1).

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
    """Two finite lengths above 0, or None."""
    try:
        pair = np.array([float(length) for length in value], dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return pair if pair.shape == (2,) and bool(np.all(np.isfinite(pair) & (pair > 0))) else None


def _magnification(header: Any) -> float:
    """How much larger the detector shows the patient; 1 where unknown."""
    factor = read_length(header, "EstimatedRadiographicMagnificationFactor")
    if factor is None:
        detector = read_length(header, "DistanceSourceToDetector")
        patient = read_length(header, "DistanceSourceToPatient")
        factor = detector / patient if detector and patient else None
    return factor if factor is not None and factor >= 1.0 else 1.0


def read_length(header: Any, keyword: str) -> float | None:
    """A finite number above 0, or None where the header has none such."""
    try:
        number = float(header.get(keyword))
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) and number > 0 else None
