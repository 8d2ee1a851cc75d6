"""Writes an image as a Digital X-Ray Image Storage - For Presentation file (DICOM PS3.3 A.26)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from mtmedformer_monai.transforms.dicom.codes import ERECT, code_item

from .dicom_object import (
    Subject,
    add_dx_image,
    add_general_image,
    add_gray_pixels,
    add_patient_and_study,
    add_region_and_view,
    add_series_and_equipment,
    check_bits,
    make_uid,
    new_object,
    require_pydicom,
    save_object,
)

DX_FOR_PRESENTATION = "1.2.840.10008.5.1.4.1.1.1.1"


@dataclass(frozen=True)
class DXHeader:
    """Header attributes that differ between the files of a cohort.

    Attributes:
        patient_id: fictitious PatientID.
        sex: 'M' or 'F'.
        age_years: 0 to 120.
        view: 'PA' or 'AP'.
        photometric: 'MONOCHROME1' or 'MONOCHROME2'.
        bits_stored: 9 to 16.
        spacing_mm: spacing of the detector elements.
        station: name of the device.
        compress: whether to use RLE Lossless compression.
        uid_entropy: text that determines the UIDs together with the pixels.
    """

    patient_id: str
    sex: str
    age_years: int
    view: str
    photometric: str
    bits_stored: int
    spacing_mm: float
    station: str
    compress: bool
    uid_entropy: str


def write_dx(path: str | Path, image: NDArray[np.float32], header: DXHeader) -> None:
    """Writes one DX file.

    Args:
        path: path of the file to write.
        image: (H, W) in [0, 1], where brighter is denser; inverted in the file for MONOCHROME1.
        header: header attributes.

    Raises:
        ValueError: `bits_stored` is not between 9 and 16.
        RuntimeError: pydicom is older than 3.
    """
    require_pydicom()
    check_bits(header.bits_stored)
    entropy = header.uid_entropy + hashlib.sha256(image.tobytes()).hexdigest()
    data = new_object(DX_FOR_PRESENTATION)
    subject = Subject(header.patient_id, "Synthetic^Chest", header.sex, header.age_years)
    add_patient_and_study(data, subject, make_uid(entropy, "study"))
    add_series_and_equipment(data, "DX", "FOR PRESENTATION", header.station)
    data.SeriesInstanceUID, data.SOPInstanceUID = make_uid(entropy, "series"), make_uid(entropy, "image")
    add_general_image(data, number=1)
    _anatomy(data, header)
    add_dx_image(data, header.photometric)
    _detector_and_window(data, header)
    shown = 1.0 - image if header.photometric == "MONOCHROME1" else image
    stored = np.round(shown * (2**header.bits_stored - 1))
    add_gray_pixels(data, stored, header.photometric, header.bits_stored)
    save_object(data, path, header.compress)


def _anatomy(data: Dataset, header: DXHeader) -> None:
    """Adds the modules DX Anatomy Imaged (PS3.3 C.8.11.2) and DX Positioning (C.8.11.5)."""
    data.ImageLaterality = "U"
    data.PatientOrientation = ["L", "F"]
    add_region_and_view(data, "CHEST", header.view)
    data.PositionerType = "COLUMN"
    data.PatientOrientationCodeSequence = Sequence([code_item(ERECT)])


def _detector_and_window(data: Dataset, header: DXHeader) -> None:
    """Adds the modules DX Detector (PS3.3 C.8.11.4) and VOI LUT (C.11.2), with a window over the full range."""
    data.DetectorType = "DIRECT"
    data.ImagerPixelSpacing = [header.spacing_mm, header.spacing_mm]
    highest = 2**header.bits_stored - 1
    data.WindowCenter, data.WindowWidth = (highest + 1) // 2, highest + 1
    data.WindowCenterWidthExplanation = "NORMAL"
