import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from mtmedformer_monai.data.synthetic.dicom.dicom_object import add_gray_pixels, check_bits, make_uid, require_pydicom


@pytest.mark.parametrize("bits", [8, 17])
def test_invalid_bit_depths_are_rejected(bits):
    with pytest.raises(ValueError, match=f"bits_stored expects 9 to 16, got {bits}"):
        check_bits(bits)
    with pytest.raises(ValueError, match=f"bits_stored expects 9 to 16, got {bits}"):
        add_gray_pixels(Dataset(), np.zeros((2, 2)), "MONOCHROME2", bits)


def test_pixels_are_little_endian_words():
    data = Dataset()
    add_gray_pixels(data, np.array([[1, 258]]), "MONOCHROME1", 12)
    assert (data.Rows, data.Columns, data.HighBit, data.PixelData) == (1, 2, 11, b"\x01\x00\x02\x01")


def test_an_old_pydicom_is_reported_before_rendering(monkeypatch):
    require_pydicom()
    monkeypatch.setattr(pydicom, "__version_info__", ("2", "4", "4"))
    monkeypatch.setattr(pydicom, "__version__", "2.4.4")
    with pytest.raises(RuntimeError, match=r"needs pydicom 3.0 or newer, got 2.4.4; pip install 'pydicom>=3'"):
        require_pydicom()


def test_identifiers_follow_from_entropy_and_part():
    assert make_uid("a", "study") == make_uid("a", "study")
    assert len({make_uid("a", "study"), make_uid("a", "series"), make_uid("b", "study")}) == 3
