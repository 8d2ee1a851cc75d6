"""Writes an image as a Digital X-Ray Image Storage - For Presentation file (DICOM PS3.3 A.26)."""

from __future__ import annotations

import datetime
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, generate_uid

DX_FOR_PRESENTATION = "1.2.840.10008.5.1.4.1.1.1.1"
STUDY_DATE = datetime.date(2020, 1, 1)
"""Of all synthetic studies: an honest date would say nothing."""


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
    """
    header = replace(header, uid_entropy=header.uid_entropy + hashlib.sha256(image.tobytes()).hexdigest())
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = DX_FOR_PRESENTATION
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    _patient_and_study(data, header)
    _series_and_equipment(data, header)
    _anatomy(data, header)
    _dx_image(data, header)
    _pixels(data, image, header)
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    if header.compress:
        data.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    data.save_as(path, enforce_file_format=True)


def _uid(header: DXHeader, part: str) -> str:
    return str(generate_uid(entropy_srcs=[header.uid_entropy, part]))


def _patient_and_study(data: Dataset, header: DXHeader) -> None:
    """Patient (C.7.1.1), General Study (C.7.2.1), Patient Study (C.7.2.2)."""
    data.PatientName = "Synthetic^Chest"
    data.PatientID = header.patient_id
    data.PatientBirthDate = ""
    data.PatientSex = header.sex
    data.PatientAge = f"{header.age_years:03d}Y"
    data.StudyInstanceUID = _uid(header, "study")
    data.StudyDate = STUDY_DATE.strftime("%Y%m%d")
    data.StudyTime = "120000"
    data.ReferringPhysicianName = ""
    data.StudyID = "1"
    data.AccessionNumber = ""


def _series_and_equipment(data: Dataset, header: DXHeader) -> None:
    """General Series (C.7.3.1), DX Series (C.8.11.1), General Equipment (C.7.5.1)."""
    data.Modality = "DX"
    data.SeriesInstanceUID = _uid(header, "series")
    data.SeriesNumber = 1
    data.PresentationIntentType = "FOR PRESENTATION"
    data.BodyPartExamined = "CHEST"
    data.Manufacturer = "Synthetic"
    data.StationName = header.station
    data.SOPClassUID = DX_FOR_PRESENTATION
    data.SOPInstanceUID = _uid(header, "image")


def _anatomy(data: Dataset, header: DXHeader) -> None:
    """General Image (C.7.6.1), DX Anatomy Imaged (C.8.11.2), DX Positioning (C.8.11.5)."""
    data.InstanceNumber = 1
    data.ContentDate, data.ContentTime = data.StudyDate, data.StudyTime
    data.AcquisitionDate, data.AcquisitionTime = data.StudyDate, data.StudyTime
    data.ImageLaterality = "U"
    data.PatientOrientation = ["L", "F"]
    data.ViewPosition = header.view
    data.AnatomicRegionSequence = Sequence([_code("43799004", "SCT", "Thorax")])
    view = ("399348003", "postero-anterior") if header.view == "PA" else ("399067008", "antero-posterior")
    data.ViewCodeSequence = Sequence([_code(view[0], "SCT", view[1])])
    data.ViewCodeSequence[0].ViewModifierCodeSequence = Sequence([])
    data.PositionerType = "COLUMN"
    data.PatientOrientationCodeSequence = Sequence([_code("10904000", "SCT", "erect")])


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


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


def _pixels(data: Dataset, image: NDArray[np.float32], header: DXHeader) -> None:
    """Image Pixel (C.7.6.3)."""
    highest = 2**header.bits_stored - 1
    shown = 1.0 - image if header.photometric == "MONOCHROME1" else image
    data.Rows, data.Columns = image.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, header.photometric
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, header.bits_stored, header.bits_stored - 1
    data.PixelRepresentation = 0
    data.PixelData = np.round(shown * highest).astype("<u2").tobytes()
