"""Reads DICOM files with other libraries: pixels with GDCM, gray values with pydicom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels import apply_modality_lut, apply_voi_lut


def read_by_gdcm(path: Path) -> NDArray[Any]:
    """Reads stored values (H, W) or (H, W, 3) with GDCM's file reader."""
    import gdcm

    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    if not reader.Read():
        raise ValueError("GDCM does not read it")
    image = reader.GetImage()
    form = image.GetPixelFormat()
    kind = "i" if form.GetPixelRepresentation() else "u"
    flat = np.frombuffer(image.GetBuffer().encode("utf-8", "surrogateescape"), f"<{kind}{form.GetBitsAllocated() // 8}")
    shape = (image.GetRows(), image.GetColumns())
    if form.GetSamplesPerPixel() == 1:
        return flat.reshape(shape)
    return np.moveaxis(flat.reshape(3, *shape), 0, -1) if image.GetPlanarConfiguration() else flat.reshape(*shape, 3)


def show_by_pydicom(header: pydicom.Dataset, stored: NDArray[Any], photometric: str = "") -> NDArray[np.float64]:
    """Computes gray values in [0, 1] with pydicom's LUT functions; padding is black.

    The values are scaled by the output range of the LUT or window. Without one, they are scaled by the stored range up
    to 8 bits, and otherwise by the range of the values that are not padding.
    """
    modality = np.asarray(apply_modality_lut(stored, header))
    padding = is_padding(stored, header)
    low, high = _output_range(header, modality[~padding])
    shown = apply_voi_lut(_within_table(modality, header), header)
    unit = np.clip((shown - low) / max(high - low, 1e-12), 0.0, 1.0)
    unit = 1.0 - unit if is_inverse(header) else unit
    return np.where(padding, 0.0, unit)


def _within_table(values: NDArray[Any], header: pydicom.Dataset) -> NDArray[Any]:
    """Clips values to the input range of a VOI LUT (PS3.3 C.11.2.1.1), which pydicom 3.0 wraps at 8 or 16 bits."""
    if "VOILUTSequence" not in header:
        return values
    count, first, _ = header.VOILUTSequence[0].LUTDescriptor
    return np.clip(values, first, first + count - 1)


def is_padding(stored: NDArray[Any], header: pydicom.Dataset) -> NDArray[np.bool_]:
    """Returns which values are padding (DICOM PS3.3 C.7.5.1.1.2)."""
    value, limit = header.get("PixelPaddingValue"), header.get("PixelPaddingRangeLimit")
    if value is None:
        return np.zeros(stored.shape, dtype=bool)
    low, high = sorted((value, value if limit is None else limit))
    return (stored >= low) & (stored <= high)


def is_inverse(header: pydicom.Dataset) -> bool:
    """Returns the polarity: for detector values by the intensity sign, otherwise by Photometric Interpretation."""
    if header.get("PresentationIntentType") == "FOR PROCESSING" and "PixelIntensityRelationshipSign" in header:
        return bool(header.PixelIntensityRelationshipSign == 1)
    return bool(header.PhotometricInterpretation == "MONOCHROME1" or header.get("PresentationLUTShape") == "INVERSE")


def _output_range(header: pydicom.Dataset, values: NDArray[Any]) -> tuple[float, float]:
    """Returns the output range of pydicom's LUT functions."""
    bits = int(header.BitsStored)
    if "VOILUTSequence" in header:
        return 0.0, 2.0 ** header.VOILUTSequence[0].LUTDescriptor[2] - 1.0
    ends = np.array([-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] if header.PixelRepresentation else [0, 2**bits - 1])
    has_window = header.get("WindowWidth") not in (None, "")
    if not has_window and bits > 8:
        return (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    if "ModalityLUTSequence" in header and has_window:
        return 0.0, 2.0 ** header.ModalityLUTSequence[0].LUTDescriptor[2] - 1.0
    low, high = np.asarray(apply_modality_lut(ends, header), dtype=float)
    return float(low), float(high)
