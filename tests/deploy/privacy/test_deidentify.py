"""De-identified copies: equal pixels and gray levels, consistent pseudonyms, and no text that is not a defined term."""

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from mtmedformer_monai.deploy.privacy.deidentify import Deidentifier
from mtmedformer_monai.transforms.reading import read_radiograph
from tests.transforms.reading_matrix import covering_cases, make_samples, write_case

ONE, OTHER = Deidentifier(b"one key"), Deidentifier(b"another key")


@pytest.mark.parametrize("case", covering_cases(), ids=str)
def test_a_copy_is_read_as_its_original(tmp_path, case):
    write_case(tmp_path / "original.dcm", case, make_samples(case))
    ONE.write_copy(tmp_path / "original.dcm", tmp_path / "copy.dcm")
    rules = {"color": "pass"}
    expected, before = read_radiograph(tmp_path / "original.dcm", "any", rules=rules)
    image, after = read_radiograph(tmp_path / "copy.dcm", "any", rules=rules)
    np.testing.assert_allclose(image, expected, atol=1e-6)
    for key in ("spacing_mm", "laterality", "view", "modality", "flags", "patient_orientation"):
        assert str(before[key]) == str(after[key])


@pytest.mark.parametrize(("keyword", "vr"), [("PixelPaddingValue", "OB"), ("LUTDescriptor", "LO"), ("LUTData", "LO")])
def test_text_in_a_numeric_element_of_a_wrong_vr_is_removed(make_dicom, tmp_path, keyword, vr):
    path = make_dicom(BodyPartExamined="CHEST")
    data, text = pydicom.dcmread(path), "Zyxquel^Jane"
    table = Dataset()
    (table if keyword.startswith("LUT") else data).add_new(Tag(keyword), vr, text if vr == "LO" else text.encode())
    data.VOILUTSequence = [table]
    data.save_as(path)
    ONE.write_copy(path, tmp_path / "copy.dcm")
    assert text.encode() in path.read_bytes()
    assert text.encode() not in (tmp_path / "copy.dcm").read_bytes()
