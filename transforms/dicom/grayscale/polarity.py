"""Polarity: whether the values must be inverted so that brighter is denser."""

from __future__ import annotations

from typing import Any

from mtmedformer_monai.transforms.dicom.code_strings import read_code
from mtmedformer_monai.transforms.dicom.header import is_for_processing


def is_inverse(header: Any) -> bool:
    """Returns whether larger values, after all LUTs, represent less dense tissue.

    - FOR PROCESSING images are not intended for display, so the Pixel Intensity Relationship Sign determines the
      polarity (DICOM PS3.3 C.8.11.3.1.2). With +1, larger stored values mean higher X-ray intensity and thus less
      tissue; a negative rescale slope reverses this.
    - Otherwise, MONOCHROME1 means that the smallest value is displayed white (PS3.3 C.7.6.3.1.2).
    - Presentation LUT Shape INVERSE is equivalent to MONOCHROME1, for which DX requires it (PS3.3 C.8.11.3), so the
      values are not inverted twice. With MONOCHROME2 (CR, old files), it causes the inversion. IDENTITY with
      MONOCHROME1 is contradictory; the Photometric Interpretation takes precedence, as in viewers.

    Args:
        header: pydicom Dataset.
    """
    sign = header.get("PixelIntensityRelationshipSign")
    if is_for_processing(header) and sign in (1, -1):
        rising = float(header.get("RescaleSlope") or 1.0) > 0
        return bool((sign == 1) == rising)
    if read_code(header, "PresentationLUTShape") == "INVERSE":
        return True
    return read_code(header, "PhotometricInterpretation") == "MONOCHROME1"
