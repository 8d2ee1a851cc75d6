"""Factories that tests of every folder share."""

from __future__ import annotations

import os

if "PYTEST_XDIST_WORKER" in os.environ:  # workers that each take all cores would spend them waiting for one another
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

LONGEST = ("test_demo.py", "test_end_to_end.py", "test_studies.py", "test_conformance.py")
"""Files whose tests take longest."""


def pytest_collection_modifyitems(items):
    """Starts with the longest, so that several workers end together."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


_CLASSES = {  # SOP classes by modality
    "CR": "1.2.840.10008.5.1.4.1.1.1",
    "DX": "1.2.840.10008.5.1.4.1.1.1.1",
    "MG": "1.2.840.10008.5.1.4.1.1.1.2",
}
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def lut_item(entries: Sequence[int], first: int = 0, bits: int = 16) -> Dataset:
    """One item of a Modality LUT or VOI LUT Sequence."""
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries) % 2**16, first, bits])
    item.add_new("LUTData", "OW", np.asarray(entries, dtype="<u2").tobytes())
    return item


def make_header(pixels: np.ndarray, bits: int, photometric: str, modality: str, **elements: Any) -> Dataset:
    """A data set around pixels (H, W), (N, H, W) or, in color, (H, W, 3)."""
    color = photometric in {"RGB", "YBR_FULL"}
    ds = Dataset()
    ds.SOPClassUID = _CLASSES.get(modality, _SECONDARY_CAPTURE)
    ds.SOPInstanceUID, ds.StudyInstanceUID, ds.SeriesInstanceUID = (f"1.2.826.0.1.3680043.8.498.{i}" for i in (1, 2, 3))
    ds.Modality, ds.PatientName, ds.PatientID = modality, "Doe^Jane", "MRN-4711"
    ds.Rows, ds.Columns = pixels.shape[:2] if color or pixels.ndim == 2 else pixels.shape[1:3]
    if pixels.ndim == 3 and not color:
        ds.NumberOfFrames = len(pixels)
    ds.SamplesPerPixel, ds.PhotometricInterpretation = (3 if color else 1), photometric
    if color:
        ds.PlanarConfiguration = 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8 * pixels.itemsize, bits, bits - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    ds.add_new("PixelData", "OB" if pixels.itemsize == 1 else "OW", pixels.tobytes() + b"\0" * (pixels.nbytes % 2))
    for keyword, value in elements.items():
        if value is None and keyword in ds:
            delattr(ds, keyword)
        elif value is not None:
            setattr(ds, keyword, value)
    return ds


def transcode(path: Path, transfer_syntax: str) -> None:
    """Compresses a file in place by GDCM."""
    import gdcm

    kinds = {
        pydicom.uid.RLELossless: gdcm.TransferSyntax.RLELossless,
        pydicom.uid.JPEGBaseline8Bit: gdcm.TransferSyntax.JPEGBaselineProcess1,
        pydicom.uid.JPEGLossless: gdcm.TransferSyntax.JPEGLosslessProcess14,
        pydicom.uid.JPEGLosslessSV1: gdcm.TransferSyntax.JPEGLosslessProcess14_1,
        pydicom.uid.JPEGLSLossless: gdcm.TransferSyntax.JPEGLSLossless,
        pydicom.uid.JPEG2000Lossless: gdcm.TransferSyntax.JPEG2000Lossless,
        pydicom.uid.JPEG2000: gdcm.TransferSyntax.JPEG2000,
    }
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(path))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(kinds[pydicom.uid.UID(transfer_syntax)]))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(path))
    assert writer.Write()


@pytest.fixture(scope="session")
def tracking_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One MLflow store for all runs: making one takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture
def make_lut() -> Callable[..., Dataset]:
    """Builds `make_lut([0, 10, 20], first=0, bits=16)`."""
    return lut_item


@pytest.fixture
def make_dicom(tmp_path: Path) -> Callable[..., Path]:
    """Builds `make_dicom(pixels=..., photometric=..., WindowCenter=...)`, which writes a DICOM file.

    Every element can be set by its keyword; None leaves it out. The files carry a made-up PatientName and PatientID,
    so that a test can look for them where they must not be.
    """

    def make(
        pixels: np.ndarray | None = None,
        rows: int = 16,
        columns: int = 12,
        bits: int = 12,
        photometric: str = "MONOCHROME2",
        modality: str = "DX",
        transfer_syntax: str = ExplicitVRLittleEndian,
        name: str = "radiograph.dcm",
        **elements: Any,
    ) -> Path:
        if pixels is None:
            pixels = np.random.default_rng(0).integers(0, 2**bits, (rows, columns))
            pixels = pixels.astype(np.uint8 if bits <= 8 else np.uint16)
        ds = make_header(pixels, bits, photometric, modality, **elements)
        compressed = pydicom.uid.UID(transfer_syntax).is_encapsulated
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if compressed else transfer_syntax
        ds.save_as(tmp_path / name, enforce_file_format=True)
        if compressed:
            transcode(tmp_path / name, transfer_syntax)
        return tmp_path / name

    return make
