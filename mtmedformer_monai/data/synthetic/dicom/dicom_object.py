"""DICOM modules shared by DX and MG files: patient, study, series, view, image, pixels, and file meta information."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, generate_uid

from mtmedformer_monai.transforms.dicom.codes import REGIONS, VIEWS, code_item

STUDY_DATE = datetime.date(2020, 1, 1)
"""Date of all synthetic studies, constant so that files are reproducible."""


@dataclass(frozen=True)
class Subject:
    """The fictitious patient of a file.

    Attributes:
        patient_id: PatientID.
        name: PatientName.
        sex: 'M' or 'F'.
        age_years: 0 to 120.
    """

    patient_id: str
    name: str
    sex: str
    age_years: int


def require_pydicom() -> None:
    """Checks that DICOM files can be written; called before rendering starts.

    Raises:
        RuntimeError: pydicom is older than 3.
    """
    if int(pydicom.__version_info__[0]) < 3:
        raise RuntimeError(
            f"writing DICOM files needs pydicom 3.0 or newer, got {pydicom.__version__}; pip install 'pydicom>=3'. "
            "Reading works with 2.4."
        )


def new_object(sop_class: str) -> Dataset:
    """Creates an empty DICOM object of a SOP class."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = sop_class
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = sop_class
    return data


def save_object(data: Dataset, path: str | Path, compress: bool) -> None:
    """Writes the file, with RLE Lossless compression if `compress` is True."""
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    if compress:
        data.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    data.save_as(path, enforce_file_format=True)


def make_uid(entropy: str, part: str) -> str:
    """Returns a DICOM UID that is determined by the arguments."""
    return str(generate_uid(entropy_srcs=[entropy, part]))


def add_patient_and_study(data: Dataset, subject: Subject, study_uid: str) -> None:
    """Adds the modules Patient (PS3.3 C.7.1.1), General Study (C.7.2.1) and Patient Study (C.7.2.2)."""
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


def add_series_and_equipment(data: Dataset, modality: str, intent: str, station: str) -> None:
    """Adds the modules General Series (PS3.3 C.7.3.1), DX Series (C.8.11.1) and General Equipment (C.7.5.1).

    Args:
        data: dataset to which the elements are added.
        modality: 'DX' or 'MG'.
        intent: 'FOR PRESENTATION' or 'FOR PROCESSING'.
        station: name of the device.
    """
    data.Modality = modality
    data.SeriesNumber = 1
    data.PresentationIntentType = intent
    data.Manufacturer = "Synthetic"
    data.StationName = station


def add_general_image(data: Dataset, number: int) -> None:
    """Adds the module General Image (PS3.3 C.7.6.1), with the study's date and time for content and acquisition."""
    data.InstanceNumber = number
    data.ContentDate, data.ContentTime = data.StudyDate, data.StudyTime
    data.AcquisitionDate, data.AcquisitionTime = data.StudyDate, data.StudyTime


def add_region_and_view(data: Dataset, region: str, view: str) -> None:
    """Adds the modules DX Anatomy Imaged (PS3.3 C.8.11.2) and DX Positioning (C.8.11.5) for a region and a view.

    Args:
        data: dataset to which the elements are added.
        region: key of `codes.REGIONS`.
        view: key of `codes.VIEWS`.
    """
    data.BodyPartExamined = region
    data.AnatomicRegionSequence = Sequence([code_item(REGIONS[region])])
    data.ViewPosition = view
    data.ViewCodeSequence = Sequence([code_item(VIEWS[view])])
    data.ViewCodeSequence[0].ViewModifierCodeSequence = Sequence([])


def add_dx_image(data: Dataset, photometric: str, is_raw: bool = False) -> None:
    """Adds the modules DX Image (PS3.3 C.8.11.3) and Acquisition Context (C.7.6.14).

    Pixel values of FOR PROCESSING images are linear in the dose; those of FOR PRESENTATION images are logarithmic.

    Args:
        data: dataset to which the elements are added.
        photometric: 'MONOCHROME1' or 'MONOCHROME2'.
        is_raw: whether the image is FOR PROCESSING.
    """
    is_inverse = photometric == "MONOCHROME1"
    data.ImageType = ["DERIVED", "PRIMARY", ""]
    data.DerivationDescription = "Synthetic image"
    data.PixelIntensityRelationship = "LIN" if is_raw else "LOG"
    data.PixelIntensityRelationshipSign = 1 if is_raw or is_inverse else -1
    data.RescaleIntercept, data.RescaleSlope, data.RescaleType = 0, 1, "US"
    data.PresentationLUTShape = "INVERSE" if is_inverse else "IDENTITY"
    data.LossyImageCompression = "00"
    data.BurnedInAnnotation = "NO"  # burned-in side and view do not identify the patient
    data.AcquisitionContextSequence = Sequence([])


def check_bits(bits_stored: int) -> None:
    """Checks the bit depth.

    Raises:
        ValueError: `bits_stored` is not between 9 and 16.
    """
    if not 9 <= bits_stored <= 16:
        raise ValueError(
            f"bits_stored expects 9 to 16, got {bits_stored}: pixels are written with 16 bits allocated, and up to 8 "
            "stored bits would require 8 bits allocated; 12 is common."
        )


def add_gray_pixels(data: Dataset, stored: NDArray[Any], photometric: str, bits_stored: int) -> None:
    """Adds the module Image Pixel (PS3.3 C.7.6.3): unsigned values (H, W) with 16 bits allocated.

    Raises:
        ValueError: `bits_stored` is not between 9 and 16.
    """
    check_bits(bits_stored)
    data.Rows, data.Columns = stored.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, photometric
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, bits_stored, bits_stored - 1
    data.PixelRepresentation = 0
    data.PixelData = np.asarray(stored).astype("<u2").tobytes()
