import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import ExplicitVRLittleEndian

from mtmedformer_monai.deploy.presentation.display_settings import copy_display_settings
from tests.conftest import lut_item
from tests.deploy.sources import write_chest


def empty():
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return data


def settings(header):
    state = empty()
    copy_display_settings(header, state)
    return state


@pytest.fixture
def chest(tmp_path):
    return write_chest(tmp_path / "source.dcm")


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_a_voi_lut_has_16_bits_and_shows_the_same_image(chest, bits):
    entries = np.linspace(0, 2**bits - 1, 300).round().astype(int)
    chest.VOILUTSequence = [lut_item(entries.tolist(), first=50, bits=bits), lut_item([5, 6], bits=bits)]
    item = settings(chest).SoftcopyVOILUTSequence[0]
    assert "WindowCenter" not in item
    assert item.VOILUTSequence[0].LUTDescriptor == [300, 50, 16]
    stored = np.arange(0, 500)
    table = empty()
    table.BitsStored, table.PixelRepresentation, table.VOILUTSequence = 12, 0, item.VOILUTSequence
    shown = apply_voi_lut(stored, table) / (2**16 - 1)
    assert shown == pytest.approx(apply_voi_lut(stored, chest, prefer_lut=True) / (2**bits - 1), abs=2**-16)


def test_the_first_window_is_kept(chest):
    chest.WindowCenter, chest.WindowWidth, chest.VOILUTFunction = [2000, 100], [3000.5, 50], "SIGMOID"
    item = settings(chest).SoftcopyVOILUTSequence[0]
    assert (item.WindowCenter, item.WindowWidth, item.VOILUTFunction) == (2000, 3000.5, "SIGMOID")


def test_an_image_without_a_window_has_no_voi(chest):
    del chest.WindowCenter, chest.WindowWidth
    assert "SoftcopyVOILUTSequence" not in settings(chest)


def test_a_rescale_keeps_its_numbers(chest):
    chest.RescaleSlope, chest.RescaleIntercept = 2, -1024
    del chest.RescaleType
    state = settings(chest)
    assert apply_modality_lut(np.array([0, 1]), state).tolist() == [-1024, -1022]
    assert state.RescaleType == "US"


@pytest.mark.parametrize("first", [0, 100])
def test_a_modality_lut_keeps_its_values(chest, first):
    chest.ModalityLUTSequence = [lut_item([7, 5, 60000], first=first)]
    state = settings(chest)
    assert apply_modality_lut(np.array([0, first + 1, first + 9]), state).tolist() == [7, 5, 60000]
    assert state.ModalityLUTSequence[0].ModalityLUTType == "US"
    assert "RescaleSlope" not in state


@pytest.mark.parametrize(("laterality", "expected"), [("R", "R"), ("L", "L"), ("B", ""), ("U", "")])
def test_laterality_is_that_of_paired_structures(chest, laterality, expected):
    chest.ImageLaterality = laterality
    assert settings(chest).Laterality == expected
