from dataclasses import replace

import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from mtmedformer_monai.data.synthetic.dicom.write_dx import DXHeader, write_dx
from mtmedformer_monai.keys import MetaKey
from mtmedformer_monai.transforms import read_radiograph
from tests.data.synthetic.dicom.iod_attributes import TYPE_1, TYPE_2
from tests.data.synthetic.dicom.validator import validate

SCT = codes.SCT


def concept_of(item):
    return Code(item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning)


HEADER = DXHeader("synthetic-1", "F", 34, "PA", "MONOCHROME2", 12, 1.5, "site_a", False, "one")


def write(folder, **changes):
    path = folder / "image.dcm"
    image = np.random.default_rng(0).random((12, 10)).astype(np.float32)
    image[0, 0], image[-1, -1] = 0.0, 1.0
    write_dx(path, image, replace(HEADER, **changes))
    return path, image


@pytest.mark.parametrize(
    ("photometric", "bits", "compress"),
    [("MONOCHROME1", 9, False), ("MONOCHROME2", 10, True), ("MONOCHROME1", 12, True), ("MONOCHROME2", 16, False)],
)
def test_an_image_is_read_back_unchanged(tmp_path, photometric, bits, compress):
    path, image = write(tmp_path, photometric=photometric, bits_stored=bits, compress=compress)
    half_step = 0.5 / (2**bits - 1)
    np.testing.assert_allclose(read_radiograph(path)[0], image, atol=half_step + 1e-6)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_all_attributes_required_by_the_iod_are_present(tmp_path, photometric):
    data = pydicom.dcmread(write(tmp_path, photometric=photometric)[0])
    required = [*TYPE_1, "WindowCenter", "WindowWidth"]
    assert [name for name in [*required, *TYPE_2] if name not in data] == []
    assert [name for name in required if data[name].VM == 0] == []
    # PS3.3 C.8.11.3.1.2: the sign is -1 where higher values mean less X-ray.
    shape_and_sign = (data.PresentationLUTShape, data.PixelIntensityRelationshipSign)
    assert shape_and_sign == (("INVERSE", 1) if photometric == "MONOCHROME1" else ("IDENTITY", -1))


@pytest.mark.parametrize(("photometric", "view"), [("MONOCHROME1", "PA"), ("MONOCHROME2", "AP")])
def test_a_validator_finds_no_error(tmp_path, photometric, view):
    assert validate(write(tmp_path, photometric=photometric, view=view)[0]) == ("DXImageForPresentation", [])


@pytest.mark.parametrize(("view", "concept"), [("PA", SCT.PosteroAnterior), ("AP", SCT.AnteroPosterior)])
def test_view_and_region_are_the_concepts_of_pydicoms_dictionary(tmp_path, view, concept):
    data = pydicom.dcmread(write(tmp_path, view=view)[0])
    assert concept_of(data.ViewCodeSequence[0]) == concept
    assert concept_of(data.AnatomicRegionSequence[0]) == SCT.Chest
    assert concept_of(data.PatientOrientationCodeSequence[0]) == codes.cid19.Erect


@pytest.mark.parametrize("view", ["PA", "AP"])
def test_the_view_is_read_from_its_code(tmp_path, view):
    path, _ = write(tmp_path, view=view)
    data = pydicom.dcmread(path)
    del data.ViewPosition
    data.save_as(path)
    assert read_radiograph(path)[1][MetaKey.VIEW] == view


@pytest.mark.parametrize(("view", "spacing"), [("PA", 0.2), ("AP", 1.5)])
def test_spacing_and_view_are_read_back(tmp_path, view, spacing):
    _, meta = read_radiograph(write(tmp_path, view=view, spacing_mm=spacing)[0])
    assert (meta[MetaKey.VIEW], meta[MetaKey.MODALITY]) == (view, "DX")
    np.testing.assert_allclose(meta[MetaKey.SPACING_MM], [spacing, spacing])


def test_the_file_identifies_no_person(tmp_path):
    data = pydicom.dcmread(write(tmp_path)[0])
    assert (str(data.PatientName), data.PatientID, data.PatientBirthDate) == ("Synthetic^Chest", "synthetic-1", "")


def test_identifiers_depend_only_on_the_entropy(tmp_path):
    first, same, other = (pydicom.dcmread(write(tmp_path, uid_entropy=entropy)[0]) for entropy in ("one", "one", "two"))
    for name in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        assert first[name].value.is_valid
        assert first[name].value == same[name].value != other[name].value
    assert first.file_meta.MediaStorageSOPInstanceUID == first.SOPInstanceUID


@pytest.mark.parametrize("bits", [8, 17])
def test_invalid_bit_depths_are_rejected(tmp_path, bits):
    with pytest.raises(ValueError, match=f"bits_stored expects 9 to 16, got {bits}"):
        write(tmp_path, bits_stored=bits)
    assert not list(tmp_path.iterdir())
