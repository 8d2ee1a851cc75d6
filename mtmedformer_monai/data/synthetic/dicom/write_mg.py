"""Writes Digital Mammography X-Ray Image Storage files, FOR PRESENTATION or FOR PROCESSING (DICOM PS3.3 A.27)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from mtmedformer_monai.data.synthetic.mammography.appearance import PADDING_LIMIT, Appearance
from mtmedformer_monai.data.synthetic.mammography.scanner import MammographyScanner

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
from .voi_elements import add_windows

MG_FOR_PRESENTATION = "1.2.840.10008.5.1.4.1.1.1.2"
MG_FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.2.1"
SOURCE_TO_DETECTOR_MM = 660.0


@dataclass(frozen=True)
class MGHeader:
    """Header attributes, apart from those of the device, that differ between the files of a cohort.

    Attributes:
        subject: the patient.
        laterality: 'L' or 'R'.
        view: 'CC' or 'MLO'.
        thickness_mm: thickness of the compressed breast.
        spacing_mm: pixel spacing in the plane of the patient.
        number: number of the image in its study.
        study_entropy: text that determines the UIDs of study and series.
        compress: whether to use RLE Lossless compression.
    """

    subject: Subject
    laterality: str
    view: str
    thickness_mm: float
    spacing_mm: float
    number: int
    study_entropy: str
    compress: bool


def write_mg(path: str | Path, appearance: Appearance, scanner: MammographyScanner, header: MGHeader) -> None:
    """Writes one MG file.

    Args:
        path: path of the file to write.
        appearance: rendered image in the orientation in which it is stored, see `is_chest_wall_left`.
        scanner: the device.
        header: header attributes.

    Raises:
        ValueError: `bits_stored` is not between 9 and 16.
        RuntimeError: pydicom is older than 3.
    """
    require_pydicom()
    check_bits(scanner.display.bits_stored)
    stored = store_values(appearance, scanner)
    data = new_object(MG_FOR_PROCESSING if scanner.is_raw else MG_FOR_PRESENTATION)
    add_patient_and_study(data, header.subject, make_uid(header.study_entropy, "study"))
    _series(data, scanner, header, hashlib.sha256(stored.tobytes()).hexdigest())
    add_general_image(data, header.number)
    _anatomy(data, scanner, header)
    _acquisition(data, scanner, header)
    add_dx_image(data, scanner.display.photometric, scanner.is_raw)
    if not scanner.is_raw:
        add_windows(data, appearance.windows, scanner.display)
    add_gray_pixels(data, stored, scanner.display.photometric, scanner.display.bits_stored)
    save_object(data, path, header.compress)


def is_chest_wall_left(laterality: str, scanner: MammographyScanner) -> bool:
    """Returns whether the chest wall is on the left of a stored image.

    By convention, right breasts are displayed with the chest wall on the right, and left breasts with the chest wall on
    the left. Mirrored devices store the opposite orientation.
    """
    return (laterality == "L") != scanner.is_mirrored


def patient_orientation(laterality: str, view: str, chest_wall_left: bool) -> list[str]:
    """Returns Patient Orientation (PS3.3 C.7.6.1.1.1): rows point anterior or posterior, columns medial.

    Example:
        >>> patient_orientation("R", "MLO", chest_wall_left=False)
        ['P', 'FL']
    """
    medial = "L" if laterality == "R" else "R"
    return ["A" if chest_wall_left else "P", medial if view == "CC" else f"F{medial}"]


def store_values(appearance: Appearance, scanner: MammographyScanner) -> NDArray[np.uint16]:
    """Converts fractions of the range to stored values; FOR PRESENTATION images are inverted for MONOCHROME1."""
    highest = 2**scanner.display.bits_stored - 1
    is_inverse = scanner.display.photometric == "MONOCHROME1" and not scanner.is_raw
    shares = 1.0 - appearance.values if is_inverse else appearance.values
    return np.round(np.clip(shares, 0.0, 1.0) * highest).astype(np.uint16)


def _series(data: Dataset, scanner: MammographyScanner, header: MGHeader, pixels: str) -> None:
    """Adds the module Mammography Series (PS3.3 C.8.11.6), and the pixel padding of General Equipment (C.7.5.1)."""
    intent = "FOR PROCESSING" if scanner.is_raw else "FOR PRESENTATION"
    add_series_and_equipment(data, "MG", intent, scanner.name)
    image = f"{header.laterality}{header.view}{header.number}{pixels}"
    data.SeriesInstanceUID = make_uid(header.study_entropy, "series")
    data.SOPInstanceUID = make_uid(header.study_entropy, image)
    if scanner.display.has_padding:
        data.add_new("PixelPaddingValue", "US", 0)
        data.add_new("PixelPaddingRangeLimit", "US", PADDING_LIMIT)


def _anatomy(data: Dataset, scanner: MammographyScanner, header: MGHeader) -> None:
    """Adds the modules DX Anatomy Imaged (PS3.3 C.8.11.2) and Mammography Image (C.8.11.7)."""
    data.ImageLaterality = header.laterality
    chest_wall_left = is_chest_wall_left(header.laterality, scanner)
    data.PatientOrientation = patient_orientation(header.laterality, header.view, chest_wall_left)
    add_region_and_view(data, "BREAST", header.view)
    data.OrganExposed = "BREAST"
    data.PositionerType = "MAMMOGRAPHIC"
    data.PositionerPrimaryAngle = 0 if header.view == "CC" else 45
    data.BreastImplantPresent, data.PartialView = "NO", "NO"
    data.QualityControlImage = "NO"


def _acquisition(data: Dataset, scanner: MammographyScanner, header: MGHeader) -> None:
    """Adds the modules DX Detector (PS3.3 C.8.11.4), DX Positioning (C.8.11.5) and X-Ray Generation (C.8.7.9)."""
    receptor = scanner.receptor
    data.DetectorType = receptor.kind
    detector_mm = round(header.spacing_mm * receptor.magnification, 6)
    data.ImagerPixelSpacing = [detector_mm, detector_mm]
    data.EstimatedRadiographicMagnificationFactor = receptor.magnification
    data.DistanceSourceToDetector = SOURCE_TO_DETECTOR_MM
    data.DistanceSourceToPatient = round(SOURCE_TO_DETECTOR_MM / receptor.magnification, 2)
    data.BodyPartThickness = round(header.thickness_mm)
    data.CompressionForce = 60 + round(header.thickness_mm)
    data.KVP = 25 + round(header.thickness_mm / 12.0)
    data.AnodeTargetMaterial, data.FilterMaterial = "TUNGSTEN", "RHODIUM"
