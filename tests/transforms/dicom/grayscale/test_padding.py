import numpy as np
import pytest
from pydicom.dataset import Dataset

from mtmedformer_monai.transforms.dicom.grayscale.padding import is_padding

STORED = np.array([-2000, 0, 1, 29, 30, 31, 63536])


@pytest.mark.parametrize(
    ("value", "limit", "signed", "padded"),
    [
        pytest.param(0, None, 0, [0], id="one value"),
        pytest.param(0, 30, 0, [0, 1, 29, 30], id="range, ends included"),
        pytest.param(30, 0, 0, [0, 1, 29, 30], id="range downwards"),
        pytest.param(63536, None, 1, [-2000], id="signed, VR guessed as unsigned"),
        pytest.param(-2000, None, 0, [63536], id="unsigned, VR guessed as signed"),
    ],
)
def test_padding(value, limit, signed, padded):
    header = Dataset()
    header.PixelRepresentation = signed
    header.add_new("PixelPaddingValue", "SS" if value < 0 else "US", value)
    if limit is not None:
        header.add_new("PixelPaddingRangeLimit", "US", limit)
    assert STORED[is_padding(STORED, header)].tolist() == padded


@pytest.mark.parametrize("vr", ["US", "SS", "OW"])
@pytest.mark.parametrize(
    ("word", "value"),
    [(0xF830, -2000), (0x0830, -2000), (0x0FFF, -1), (0xFFFF, -1), (0x07D0, 2000)],
    ids=["extended", "not extended", "-1 not extended", "-1", "2000"],
)
def test_signed_padding_of_twelve_bits_by_any_vr(vr, word, value):
    header = Dataset()
    header.PixelRepresentation, header.BitsStored = 1, 12
    written = {"US": word, "SS": word - 0x10000 if word >= 0x8000 else word, "OW": word.to_bytes(2, "little")}
    header.add_new("PixelPaddingValue", vr, written[vr])
    stored = np.array([-2048, -2000, -1, 0, 2000, 2047])
    assert stored[is_padding(stored, header)].tolist() == [value]


def test_range_whose_ends_have_different_signs_by_vr():
    header = Dataset()
    header.PixelRepresentation, header.BitsStored = 1, 16
    header.add_new("PixelPaddingValue", "US", 0xFFFE)
    header.add_new("PixelPaddingRangeLimit", "SS", 1)
    stored = np.array([-3, -2, 0, 1, 2])
    assert stored[is_padding(stored, header)].tolist() == [-2, 0, 1]


def test_padding_of_more_than_sixteen_bits():
    header = Dataset()
    header.PixelRepresentation, header.BitsStored = 1, 32
    header.add_new("PixelPaddingValue", "SL", -70000)
    stored = np.array([-70000, 0])
    assert stored[is_padding(stored, header)].tolist() == [-70000]


def test_no_padding_declared():
    assert is_padding(STORED, Dataset()) is None
