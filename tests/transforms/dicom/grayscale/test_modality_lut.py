import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut as pydicom_lut

from mtmedformer_monai.transforms.dicom.grayscale.modality_lut import apply_modality_lut

VALUES = np.array([0, 1, 2, 1000], dtype=np.int64)


def test_rescale():
    header = Dataset()
    header.RescaleSlope, header.RescaleIntercept = "2", "-10"
    assert apply_modality_lut(VALUES, header).tolist() == [-10, -8, -6, 1990]


def test_zero_slope_does_not_erase_the_image():
    header = Dataset()
    header.RescaleSlope, header.RescaleIntercept = "0", "5"
    assert apply_modality_lut(VALUES, header).tolist() == [5, 6, 7, 1005]


def test_nothing_to_apply():
    assert apply_modality_lut(VALUES, Dataset()) is VALUES


@pytest.mark.parametrize("first", [0, 1, 500])
def test_table_agrees_with_pydicom_and_takes_precedence_over_the_rescale(first, make_lut):
    header = Dataset()
    header.ModalityLUTSequence = [make_lut([7, 9, 11, 40000], first=first)]
    header.RescaleSlope, header.RescaleIntercept = "1", "0"
    header.file_meta = Dataset()
    header.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    ours = apply_modality_lut(VALUES, header)
    assert ours.tolist() == pydicom_lut(VALUES, header).tolist()
    assert ours[-1] == 40000


@pytest.mark.parametrize("slope", ["1e308", "inf", "nan"])
def test_rescale_that_overflows(slope):
    header = Dataset()
    header.RescaleSlope = slope
    with pytest.raises(ValueError, match="beyond 1e30"):
        apply_modality_lut(VALUES, header)
