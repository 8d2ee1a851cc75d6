from dataclasses import replace

import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes

from mtmedformer_monai.data.synthetic.dicom.dicom_object import Subject
from mtmedformer_monai.data.synthetic.dicom.write_mg import MGHeader, is_chest_wall_left, patient_orientation, write_mg
from mtmedformer_monai.data.synthetic.mammography.appearance import Appearance, Window
from mtmedformer_monai.data.synthetic.mammography.scanner import MAMMOGRAPHY_SCANNERS
from mtmedformer_monai.keys import MetaKey
from mtmedformer_monai.transforms import read_radiograph
from tests.data.synthetic.dicom.iod_attributes import TYPE_1, TYPE_2
from tests.data.synthetic.dicom.validator import validate

SCT = codes.SCT
SUBJECT = Subject("synthetic-1", "Synthetic^Breast", "F", 55)
HEADER = MGHeader(SUBJECT, "R", "MLO", 52.0, 0.4, 2, "one", False)
SCANNERS = pytest.mark.parametrize(
    "scanner", MAMMOGRAPHY_SCANNERS, ids=[scanner.name for scanner in MAMMOGRAPHY_SCANNERS]
)

MG_TYPE_1 = ["PositionerType", "OrganExposed"]
MG_TYPE_2 = ["KVP"]
TYPE_3 = ["EstimatedRadiographicMagnificationFactor", "BodyPartThickness", "CompressionForce", "ViewPosition"]


def write(folder, scanner=MAMMOGRAPHY_SCANNERS[0], **changes):
    values = np.random.default_rng(0).uniform(0.2, 1.0, (24, 18))
    appearance = Appearance(values, () if scanner.is_raw else (Window(0.5, 0.6, "NORMAL"),))
    write_mg(folder / "image.dcm", appearance, scanner, replace(HEADER, **changes))
    return folder / "image.dcm", values


@SCANNERS
def test_all_attributes_required_by_the_iod_are_present(tmp_path, scanner):
    data = pydicom.dcmread(write(tmp_path, scanner)[0])
    required = [*TYPE_1, *MG_TYPE_1]
    assert [name for name in [*required, *TYPE_2, *MG_TYPE_2, *TYPE_3] if name not in data] == []
    assert [name for name in required if data[name].VM == 0] == []
    assert ("WindowCenter" in data, "VOILUTSequence" in data) == (not scanner.is_raw, scanner.display.voi == "LUT")
    assert list(data.ViewCodeSequence[0].ViewModifierCodeSequence) == []


@pytest.mark.parametrize(("number", "view"), [(0, "CC"), (1, "MLO"), (2, "CC"), (3, "MLO")])
def test_a_validator_finds_no_error(tmp_path, number, view):
    scanner = MAMMOGRAPHY_SCANNERS[number]
    path, _ = write(tmp_path, scanner, view=view)
    assert validate(path) == (f"MammographyImageFor{'Processing' if scanner.is_raw else 'Presentation'}", [])


@pytest.mark.parametrize(
    ("view", "concept"), [("CC", SCT.CranioCaudal), ("MLO", codes.cid4014.MedioLateralObliqueProjection)]
)
def test_the_view_is_a_concept_of_pydicoms_dictionary_and_read_back_by_it_alone(tmp_path, view, concept):
    path, _ = write(tmp_path, view=view)
    data = pydicom.dcmread(path)
    item = data.ViewCodeSequence[0]
    assert (item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning) == concept[:3]
    assert data.AnatomicRegionSequence[0].CodeValue == SCT.Breast.value
    del data.ViewPosition
    data.save_as(path)
    assert read_radiograph(path)[1][MetaKey.VIEW] == view


@SCANNERS
def test_brighter_reads_as_denser(tmp_path, scanner):
    """Raw values decrease with density and presented ones increase; the loaded image always increases."""
    path, values = write(tmp_path, scanner, compress=scanner.is_raw or scanner.is_film)
    by_density = np.argsort(-values if scanner.is_raw else values, axis=None)
    quarters = read_radiograph(path)[0].ravel()[by_density].reshape(4, -1).mean(axis=1)
    assert (np.diff(quarters) > 0).all()


@SCANNERS
@pytest.mark.parametrize(("laterality", "view"), [("R", "CC"), ("L", "MLO")])
def test_side_view_and_spacing_are_read_back(tmp_path, scanner, laterality, view):
    path, _ = write(tmp_path, scanner, laterality=laterality, view=view)
    meta = read_radiograph(path)[1]
    assert (meta[MetaKey.LATERALITY], meta[MetaKey.VIEW], meta[MetaKey.MODALITY]) == (laterality, view, "MG")
    np.testing.assert_allclose(meta[MetaKey.SPACING_MM], 0.4, rtol=1e-5)
    stored = pydicom.dcmread(path, stop_before_pixels=True)
    np.testing.assert_allclose(stored.ImagerPixelSpacing, 0.4 * scanner.receptor.magnification, rtol=1e-5)


@pytest.mark.parametrize(
    ("laterality", "view", "wall_left", "expected"),
    [
        ("R", "CC", False, ["P", "L"]),
        ("L", "CC", True, ["A", "R"]),
        ("R", "MLO", False, ["P", "FL"]),
        ("L", "MLO", True, ["A", "FR"]),
        ("R", "MLO", True, ["A", "FL"]),
        ("L", "CC", False, ["P", "R"]),
    ],
)
def test_orientations_are_those_of_the_standard(laterality, view, wall_left, expected):
    """Covers standard orientations (DICOM PS3.3 C.8.11.7, and files of real devices) and mirrored ones."""
    assert patient_orientation(laterality, view, wall_left) == expected


def test_mirrored_devices_swap_the_chest_wall():
    plain, mirrored = MAMMOGRAPHY_SCANNERS[0], replace(MAMMOGRAPHY_SCANNERS[0], is_mirrored=True)
    assert [is_chest_wall_left(side, plain) for side in "RL"] == [False, True]
    assert [is_chest_wall_left(side, mirrored) for side in "RL"] == [True, False]


def test_raw_files_declare_linear_values(tmp_path):
    raw = next(scanner for scanner in MAMMOGRAPHY_SCANNERS if scanner.is_raw)
    data = pydicom.dcmread(write(tmp_path, raw)[0])
    assert data.SOPClassUID == "1.2.840.10008.5.1.4.1.1.1.2.1"
    assert data.PresentationIntentType == "FOR PROCESSING"
    assert (data.PixelIntensityRelationship, data.PixelIntensityRelationshipSign) == ("LIN", 1)


def test_the_images_of_a_study_share_its_identifier(tmp_path):
    first, second, other = (
        pydicom.dcmread(write(tmp_path, **changes)[0])
        for changes in ({"number": 1}, {"number": 2, "view": "CC"}, {"study_entropy": "two"})
    )
    assert first.StudyInstanceUID == second.StudyInstanceUID != other.StudyInstanceUID
    assert first.SOPInstanceUID != second.SOPInstanceUID


@pytest.mark.parametrize("bits", [8, 17])
def test_invalid_bit_depths_are_rejected(tmp_path, bits):
    scanner = MAMMOGRAPHY_SCANNERS[0]
    with pytest.raises(ValueError, match=f"bits_stored expects 9 to 16, got {bits}"):
        write(tmp_path, replace(scanner, display=replace(scanner.display, bits_stored=bits)))
    assert not list(tmp_path.iterdir())
