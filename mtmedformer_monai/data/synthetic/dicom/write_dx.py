"""Writes an image as a Digital X-Ray Image Storage - For Presentation file (DICOM PS3.3 A.26)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from .dicom_object import (
    Subject,
    add_gray_pixels,
    add_patient_and_study,
    add_times,
    check_bits,
    code,
    make_uid,
    new_object,
    require_pydicom,
    save_object,
)

DX_FOR_PRESENTATION = "1.2.840.10008.5.1.4.1.1.1.1"


@dataclass(frozen=True)
class DXHeader:
    """What differs between the files of a cohort.

    Attributes:
        patient_id: fictitious.
        sex: 'M' or 'F'.
        age_years: 0 to 120.
        view: 'PA' or 'AP'.
        photometric: 'MONOCHROME1' or 'MONOCHROME2'.
        bits_stored: 9 to 16.
        spacing_mm: of the detector's elements.
        station: name of the device.
        compress: run-length encoded.
        uid_entropy: what the unique identifiers are made from, beside the pixels.
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
    """Writes one file.

    Args:
        path: to be made.
        image: (H, W) in [0, 1], brighter is denser; stored the other way round for MONOCHROME1.
        header: its attributes.

    Raises:
        ValueError: `bits_stored` is not 9 to 16.
        RuntimeError: pydicom is older than 3.
    """
    require_pydicom()
    check_bits(header.bits_stored)
    entropy = header.uid_entropy + hashlib.sha256(image.tobytes()).hexdigest()
    data = new_object(DX_FOR_PRESENTATION)
    subject = Subject(header.patient_id, "Synthetic^Chest", header.sex, header.age_years)
    add_patient_and_study(data, subject, make_uid(entropy, "study"))
    _series_and_equipment(data, header, entropy)
    _anatomy(data, header)
    _dx_image(data, header)
    shown = 1.0 - image if header.photometric == "MONOCHROME1" else image
    stored = np.round(shown * (2**header.bits_stored - 1))
    add_gray_pixels(data, stored, header.photometric, header.bits_stored)
    save_object(data, path, header.compress)


def _series_and_equipment(data: Dataset, header: DXHeader, entropy: str) -> None:
    """General Series (C.7.3.1), DX Series (C.8.11.1), General Equipment (C.7.5.1)."""
    data.Modality = "DX"
    data.SeriesInstanceUID = make_uid(entropy, "series")
    data.SeriesNumber = 1
    data.PresentationIntentType = "FOR PRESENTATION"
    data.BodyPartExamined = "CHEST"
    data.Manufacturer = "Synthetic"
    data.StationName = header.station
    data.SOPInstanceUID = make_uid(entropy, "image")


def _anatomy(data: Dataset, header: DXHeader) -> None:
    """General Image (C.7.6.1), DX Anatomy Imaged (C.8.11.2), DX Positioning (C.8.11.5)."""
    data.InstanceNumber = 1
    add_times(data)
    data.ImageLaterality = "U"
    data.PatientOrientation = ["L", "F"]
    data.ViewPosition = header.view
    data.AnatomicRegionSequence = Sequence([code("43799004", "SCT", "Thorax")])
    view = ("399348003", "postero-anterior") if header.view == "PA" else ("399067008", "antero-posterior")
    data.ViewCodeSequence = Sequence([code(view[0], "SCT", view[1])])
    data.ViewCodeSequence[0].ViewModifierCodeSequence = Sequence([])
    data.PositionerType = "COLUMN"
    data.PatientOrientationCodeSequence = Sequence([code("10904000", "SCT", "erect")])


def _dx_image(data: Dataset, header: DXHeader) -> None:
    """DX Image (C.8.11.3), DX Detector (C.8.11.4), Acquisition Context (C.7.6.14)."""
    data.ImageType = ["DERIVED", "PRIMARY", ""]
    data.DerivationDescription = "Synthetic image"
    data.PixelIntensityRelationship = "LOG"
    data.PixelIntensityRelationshipSign = 1 if header.photometric == "MONOCHROME1" else -1
    data.RescaleIntercept, data.RescaleSlope, data.RescaleType = 0, 1, "US"
    data.PresentationLUTShape = "INVERSE" if header.photometric == "MONOCHROME1" else "IDENTITY"
    data.LossyImageCompression = "00"
    data.BurnedInAnnotation = "NO"  # a side marker tells no one's identity
    data.DetectorType = "DIRECT"
    data.ImagerPixelSpacing = [header.spacing_mm, header.spacing_mm]
    data.AcquisitionContextSequence = Sequence([])
    highest = 2**header.bits_stored - 1
    data.WindowCenter, data.WindowWidth = (highest + 1) // 2, highest + 1
    data.WindowCenterWidthExplanation = "NORMAL"
