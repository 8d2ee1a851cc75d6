"""What every written X-ray file shares: patient, study, gray pixels, and the file around them."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, generate_uid

STUDY_DATE = datetime.date(2020, 1, 1)
"""Of all synthetic studies: an honest date would say nothing."""


@dataclass(frozen=True)
class Subject:
    """Whom a file is of.

    Attributes:
        patient_id: fictitious.
        name: fictitious, as PatientName.
        sex: 'M' or 'F'.
        age_years: 0 to 120.
    """

    patient_id: str
    name: str
    sex: str
    age_years: int


def require_pydicom() -> None:
    """Tells early that files cannot be written.

    Raises:
        RuntimeError: pydicom is older than 3.
    """
    if int(pydicom.__version_info__[0]) < 3:
        raise RuntimeError(
            f"writing DICOM files needs pydicom 3.0 or newer, got {pydicom.__version__}; pip install 'pydicom>=3'. "
            "Reading works with 2.4."
        )


def new_object(sop_class: str) -> Dataset:
    """An empty object of a SOP class."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = sop_class
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = sop_class
    return data


def save_object(data: Dataset, path: str | Path, compress: bool) -> None:
    """Writes the file, run-length encoded if `compress`."""
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    if compress:
        data.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    data.save_as(path, enforce_file_format=True)


def make_uid(entropy: str, part: str) -> str:
    """A unique identifier that follows from its arguments."""
    return str(generate_uid(entropy_srcs=[entropy, part]))


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """One item of a code sequence (PS3.3 8.8)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def add_patient_and_study(data: Dataset, subject: Subject, study_uid: str) -> None:
    """Patient (C.7.1.1), General Study (C.7.2.1), Patient Study (C.7.2.2)."""
    data.PatientName = subject.name
    data.PatientID = subject.patient_id
    data.PatientBirthDate = ""
    data.PatientSex = subject.sex
    data.PatientAge = f"{subject.age_years:03d}Y"
    data.StudyInstanceUID = study_uid
    data.StudyDate = STUDY_DATE.strftime("%Y%m%d")
    data.StudyTime = "120000"
    data.ReferringPhysicianName = ""
    data.StudyID = "1"
    data.AccessionNumber = ""


def add_times(data: Dataset) -> None:
    """General Image (C.7.6.1): content and acquisition are the study's."""
    data.ContentDate, data.ContentTime = data.StudyDate, data.StudyTime
    data.AcquisitionDate, data.AcquisitionTime = data.StudyDate, data.StudyTime


def check_bits(bits_stored: int) -> None:
    """Refuses depths that X-ray objects do not have.

    Raises:
        ValueError: not 9 to 16.
    """
    if not 9 <= bits_stored <= 16:
        raise ValueError(
            f"bits_stored expects 9 to 16, got {bits_stored}: pixels are written in 16 bits, and fewer than 9 stored "
            "would belong in 8; 12 is usual."
        )


def add_gray_pixels(data: Dataset, stored: NDArray[Any], photometric: str, bits_stored: int) -> None:
    """Image Pixel (C.7.6.3): unsigned values (H, W) in 16 bits.

    Raises:
        ValueError: `bits_stored` is not 9 to 16.
    """
    check_bits(bits_stored)
    data.Rows, data.Columns = stored.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, photometric
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, bits_stored, bits_stored - 1
    data.PixelRepresentation = 0
    data.PixelData = np.asarray(stored).astype("<u2").tobytes()
