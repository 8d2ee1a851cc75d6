"""Writes small DICOM files for the tests in this folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from tests.conftest import make_header


def write_dicom(path: Path, pixels: np.ndarray, **elements: object) -> Path:
    """Writes a mammogram with uint8 or 12-bit uint16 pixels, and creates parent folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = make_header(pixels, 8 if pixels.dtype == np.uint8 else 12, "MONOCHROME2", "MG", **elements)
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.save_as(path, enforce_file_format=True)
    return path
