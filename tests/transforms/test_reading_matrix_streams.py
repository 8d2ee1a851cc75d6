"""Prerecorded streams for which no encoder is available, made from one ramp by libjpeg-turbo 3.1 and OpenJPH 0.26."""

import base64
import shutil
import subprocess

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate

from mtmedformer_monai.transforms.dicom.read import read_dicom
from tests.conftest import make_header
from tests.transforms.independent_reading import read_by_gdcm
from tests.transforms.reading_matrix import read_stored

RAMP = np.add.outer(100 * np.arange(16), 50 * np.arange(24)).astype(np.uint16)
JPEG_12 = """
/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAIBAQEBAQIBAQECAgICAgQDAgICAgUEBAMEBgUGBgYFBgYGBwkIBgcJBwYGCAsICQoK
CgoKBggLDAsKDAkKCgr/wQALDAAQABgBAREA/8QAFgABAQEAAAAAAAAAAAAAAAAACwAN/8QAHBAAAAYDAAAAAAAAAAAAAAAAAAoL
KDZFU2Jx/9oACAEBAAA/AMgzI4IcMPaBgouahkAjghww9oGCi5qGQCOCHDD2gYKLmoiOCHDD2gYKLmoZAI4IcMPaBgouahkAjghw
w9oGCi5qP//Z"""
LOSSLESS_OF_PREDICTOR_5 = """
/9j/4AAQSkZJRgABAQAAAQABAAD/wwALDAAQABgBAREA/8QAFwABAQEBAAAAAAAAAAAAAAAABQYHDP/aAAgBAQAFAADn/wCysrKy
srKysrKysrKysrKysrKysrKystkZZZZZZZZZZZZZZZZZZZZZZZ2RllllllllllllllllllllllnZGWWWWWWWWWWWWWWWWWWWWWWd
kZZZZZZZZZZZZZZZZZZZZZZZ2RllllllllllllllllllllllnZGWWWWWWWWWWWWWWWWWWWWWWdkZZZZZZZZZZZZZZZZZZZZZZZ2R
llllllllllllllllllllllnZGWWWWWWWWWWWWWWWWWWWWWWdkZZZZZZZZZZZZZZZZZZZZZZZ2RllllllllllllllllllllllnZGW
WWWWWWWWWWWWWWWWWWWWWdkZZZZZZZZZZZZZZZZZZZZZZZ2RllllllllllllllllllllllnZGWWWWWWWWWWWWWWWWWWWWWWf/9k="""
HTJ2K = """
/0//UQApQAAAAAAYAAAAEAAAAAAAAAAAAAAAGAAAABAAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wAEyCI
kJCQkJCQkJCQkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAJgAAf+TwAAmL/kFB3QAwAATALD+Aod0AMAA
EsAAE4D3AAd0ACIX+QCiNADAABNAABVAxo2Bi3QAjjt2/AAQgHdWAMAAFTAABXBgMBj82nECdQDAgYGBgYHgGPYxgey4AMAAK6AA
FtCiKIqiKIrz+np6cIJ4AMZGo9FoNBqNRqPx/xACEB79iEB79iEB7L8A/9k="""


def write_stream(path, syntax, text):
    stored = 16 if syntax in HTJ2K_SYNTAXES else 12
    data = make_header(RAMP, stored, "MONOCHROME2", "DX")
    data.PixelData = encapsulate([base64.b64decode(text)])
    data["PixelData"].VR = "OB"
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.save_as(path, enforce_file_format=True)


HTJ2K_SYNTAXES = (uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K)


@pytest.mark.parametrize(
    ("syntax", "text"),
    [(uid.JPEGLossless, LOSSLESS_OF_PREDICTOR_5), *((syntax, HTJ2K) for syntax in HTJ2K_SYNTAXES)],
    ids=lambda value: getattr(value, "name", ""),
)
def test_lossless_streams(tmp_path, syntax, text):
    write_stream(tmp_path / "a.dcm", syntax, text)
    np.testing.assert_array_equal(read_stored(tmp_path / "a.dcm")[1], RAMP)
    np.testing.assert_allclose(read_dicom(tmp_path / "a.dcm")[0], RAMP / RAMP.max(), atol=1e-7)


def test_jpeg_of_twelve_bits(tmp_path):
    path = tmp_path / "a.dcm"
    write_stream(path, uid.JPEGExtended12Bit, JPEG_12)
    stored = read_stored(path)[1]
    assert np.abs(stored.astype(int) - RAMP).max() <= 1  # lossy
    np.testing.assert_array_equal(stored, read_by_gdcm(path))


@pytest.mark.skipif(shutil.which("dcmdjpeg") is None, reason="DCMTK is not installed")
@pytest.mark.parametrize(
    ("syntax", "text"), [(uid.JPEGExtended12Bit, JPEG_12), (uid.JPEGLossless, LOSSLESS_OF_PREDICTOR_5)], ids=["12", "5"]
)
def test_agreement_with_dcmtk(tmp_path, syntax, text):
    write_stream(tmp_path / "a.dcm", syntax, text)
    subprocess.run(["dcmdjpeg", tmp_path / "a.dcm", tmp_path / "b.dcm"], check=True, capture_output=True)
    np.testing.assert_array_equal(read_stored(tmp_path / "a.dcm")[1], pydicom.dcmread(tmp_path / "b.dcm").pixel_array)
