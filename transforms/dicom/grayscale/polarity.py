"""Polarity: whether the values have to be inverted so that brighter is denser."""

from __future__ import annotations

from typing import Any

from mtmedformer_monai.transforms.dicom.code_strings import read_code
from mtmedformer_monai.transforms.dicom.header import is_for_processing


def is_inverse(header: Any) -> bool:
    """Tells whether larger values, after all LUTs, stand for less dense tissue.

    - FOR PROCESSING images are not made for display: there the Pixel Intensity Relationship Sign says what a value
      means (DICOM PS3.3 C.8.11.3.1.2). +1: larger stored values mean more X-ray intensity, so less tissue. A negative
      rescale slope has turned that round.
    - Else MONOCHROME1: the smallest value is shown white (PS3.3 C.7.6.3.1.2).
    - Presentation LUT Shape INVERSE says the same once more, and is not applied on top: DX requires it of MONOCHROME1
      (PS3.3 C.8.11.3). Where it stands beside MONOCHROME2 (CR, old writers) it is what asks for the inversion.
      IDENTITY beside MONOCHROME1 contradicts itself: viewers heed the Photometric Interpretation, and so do we.

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
