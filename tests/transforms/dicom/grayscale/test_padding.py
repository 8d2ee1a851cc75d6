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


def test_no_padding_declared():
    assert is_padding(STORED, Dataset()) is None
