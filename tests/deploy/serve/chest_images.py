"""Chest radiographs for the worker's tests, each of a study of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from tests.conftest import make_header

NAME, PATIENT = "Doe^Jane", "MRN-4711"
"""The patient of all images; must not be found in any log."""

FRONTAL = {
    "BodyPartExamined": "CHEST", "ViewPosition": "PA", "PresentationIntentType": "FOR PRESENTATION",
    "PatientOrientation": ["L", "F"], "StudyDate": "20200101", "StudyTime": "120000", "AccessionNumber": "A1",
    "StudyID": "1", "SeriesNumber": 1, "InstanceNumber": 1, "PatientBirthDate": "19500101", "PatientSex": "F",
    "ReferringPhysicianName": "Who^Doctor", "PixelSpacing": [0.2, 0.2],
}  # fmt: skip


def uid(number, level=1):
    return f"1.2.826.0.1.3680043.8.498.77.{number}.{level}"


def write_chest(folder: Path, number: int, rows: int = 24, modality: str = "DX", **elements: object) -> Path:
    """Writes image `number`, whose SOP Instance UID is `uid(number)`."""
    pixels = np.random.default_rng(number).integers(0, 2**12, (rows, rows), dtype=np.uint16)
    frames = elements.pop("frames", 1)
    pixels = np.stack([pixels] * frames) if frames > 1 else pixels
    uids = {"SOPInstanceUID": uid(number), "SeriesInstanceUID": uid(number, 2), "StudyInstanceUID": uid(number, 3)}
    header = make_header(pixels, 12, "MONOCHROME2", modality, **{**FRONTAL, **uids, **elements})
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path = folder / f"{number}.dcm"
    folder.mkdir(parents=True, exist_ok=True)
    header.save_as(path, enforce_file_format=True)
    return path
