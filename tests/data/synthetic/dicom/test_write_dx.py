import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pydicom
import pytest

from mtmedformer_monai.data.synthetic.dicom.write_dx import DXHeader, write_dx
from mtmedformer_monai.keys import MetaKey
from mtmedformer_monai.transforms import read_radiograph

HEADER = DXHeader("synthetic-1", "F", 34, "PA", "MONOCHROME2", 12, 1.5, "site_a", False, "one")

# Attributes of the IOD's mandatory modules (DICOM PS3.3 A.26.3), and the conditional ones that hold for a chest.
TYPE_1 = [
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "PresentationIntentType",
    "ImageLaterality",
    "PatientOrientation",
    "ImageType",
    "PixelIntensityRelationship",
    "PixelIntensityRelationshipSign",
    "RescaleIntercept",
    "RescaleSlope",
    "RescaleType",
    "PresentationLUTShape",
    "LossyImageCompression",
    "BurnedInAnnotation",
    "ImagerPixelSpacing",
    "WindowCenter",
    "WindowWidth",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelData",
]
TYPE_2 = [
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
    "SeriesNumber",
    "InstanceNumber",
    "Manufacturer",
    "AnatomicRegionSequence",
    "DetectorType",
    "AcquisitionContextSequence",
]


def write(folder, **changes):
    path = folder / "image.dcm"
    image = np.random.default_rng(0).random((12, 10)).astype(np.float32)
    image[0, 0], image[-1, -1] = 0.0, 1.0
    write_dx(path, image, replace(HEADER, **changes))
    return path, image


@pytest.mark.parametrize("compress", [False, True], ids=["raw", "RLE"])
@pytest.mark.parametrize("bits", [9, 10, 12, 16])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_it_reads_back_as_it_was(tmp_path, photometric, bits, compress):
    path, image = write(tmp_path, photometric=photometric, bits_stored=bits, compress=compress)
    half_step = 0.5 / (2**bits - 1)
    np.testing.assert_allclose(read_radiograph(path)[0], image, atol=half_step + 1e-6)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_all_that_the_iod_demands_is_there(tmp_path, photometric):
    data = pydicom.dcmread(write(tmp_path, photometric=photometric)[0])
    assert [name for name in [*TYPE_1, *TYPE_2] if name not in data] == []
    assert [name for name in TYPE_1 if data[name].VM == 0] == []
    # PS3.3 C.8.11.3.1.2: the sign is -1 where higher values mean less X-ray.
    shape_and_sign = (data.PresentationLUTShape, data.PixelIntensityRelationshipSign)
    assert shape_and_sign == (("INVERSE", 1) if photometric == "MONOCHROME1" else ("IDENTITY", -1))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("view", ["PA", "AP"])
def test_a_validator_finds_no_error(tmp_path, photometric, view):
    """Runs `dciodvfy` where it is installed; elsewhere the views are what of its checks the lists above leave out."""
    path, _ = write(tmp_path, photometric=photometric, view=view)
    data = pydicom.dcmread(path)
    code = {"PA": "399348003", "AP": "399067008"}[view]  # SNOMED CT, DICOM PS3.16 CID 4010
    assert (data.ViewPosition, data.ViewCodeSequence[0].CodeValue) == (view, code)
    assert data.AnatomicRegionSequence[0].CodeMeaning == "Thorax"
    if validator := shutil.which("dciodvfy"):
        told = subprocess.run([validator, str(path)], capture_output=True, text=True, timeout=60)
        lines = (told.stdout + told.stderr).splitlines()
        assert lines[0] == "DXImageForPresentation"
        assert [line for line in lines if line.startswith("Error")] == []


@pytest.mark.parametrize("view", ["PA", "AP"])
@pytest.mark.parametrize("spacing", [0.2, 1.5])
def test_spacing_and_view_are_read_back(tmp_path, view, spacing):
    _, meta = read_radiograph(write(tmp_path, view=view, spacing_mm=spacing)[0])
    assert (meta[MetaKey.VIEW], meta[MetaKey.MODALITY]) == (view, "DX")
    np.testing.assert_allclose(meta[MetaKey.SPACING_MM], [spacing, spacing])


def test_the_file_names_no_one(tmp_path):
    data = pydicom.dcmread(write(tmp_path)[0])
    assert (str(data.PatientName), data.PatientID, data.PatientBirthDate) == ("Synthetic^Chest", "synthetic-1", "")


def test_identifiers_follow_from_the_entropy_alone(tmp_path):
    first, same, other = (pydicom.dcmread(write(tmp_path, uid_entropy=entropy)[0]) for entropy in ("one", "one", "two"))
    for name in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        assert first[name].value.is_valid
        assert first[name].value == same[name].value != other[name].value
    assert first.file_meta.MediaStorageSOPInstanceUID == first.SOPInstanceUID


@pytest.mark.parametrize("bits", [8, 17])
def test_depths_that_are_none_are_refused(tmp_path, bits):
    with pytest.raises(ValueError, match=f"bits_stored expects 9 to 16, got {bits}"):
        write(tmp_path, bits_stored=bits)
    assert not list(tmp_path.iterdir())
