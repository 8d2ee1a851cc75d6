import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.pixels import apply_windowing

from mtmedformer_monai.transforms.dicom.grayscale.voi_lut import apply_voi_lut, apply_window, read_windows


def header_of(**elements):
    header = Dataset()
    for keyword, value in {"PhotometricInterpretation": "MONOCHROME2", "BitsStored": 12, **elements}.items():
        setattr(header, keyword, value)
    header.PixelRepresentation = 0
    return header


@pytest.mark.parametrize(
    ("function", "expected"),
    # (x - 99.5) / 9 + 0.5; (x - 100) / 10 + 0.5; 1 / (1 + exp(-4 (x - 100) / 10))
    [
        ("LINEAR", [0, 0.5 / 9 + 0.5, 1]),
        ("LINEAR_EXACT", [0, 0.5, 1]),
        ("SIGMOID", [1 / (1 + np.exp(4)), 0.5, 1 / (1 + np.exp(-4))]),
        ("nonsense", [0, 0.5 / 9 + 0.5, 1]),
    ],
)
def test_window_by_hand(function, expected):
    np.testing.assert_allclose(apply_window(np.array([90, 100, 110]), 100, 10, function), expected, atol=1e-12)


def test_linear_window_of_width_one_is_a_step():
    assert apply_window(np.array([98, 99, 100, 101]), 100, 1).tolist() == [0, 0, 1, 1]


@given(
    center=st.floats(-100, 5000),
    width=st.floats(1.5, 5000),
    function=st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
)
def test_window_agrees_with_pydicom(center, width, function):
    values = np.arange(0, 4096, 7)
    header = header_of(WindowCenter=center, WindowWidth=width, VOILUTFunction=function)
    expected = apply_windowing(values, header) / 4095
    # the only difference is that pydicom rounds decimal strings to 16 characters, 1e-10 of a width
    np.testing.assert_allclose(apply_voi_lut(values, header), expected, atol=1e-9)


def test_index_chooses_the_window():
    header = header_of(WindowCenter=["100", "200"], WindowWidth=["10", "20"])
    values = np.array([100, 200])
    np.testing.assert_allclose(apply_voi_lut(values, header, 0), apply_window(values, 100, 10))
    np.testing.assert_allclose(apply_voi_lut(values, header, 1), apply_window(values, 200, 20))
    with pytest.raises(IndexError, match="alternative 2 was requested, but there are 2"):
        apply_voi_lut(values, header, 2)


def test_table_takes_precedence_over_the_window_and_scales_by_its_bits(make_lut):
    header = header_of(WindowCenter="1", WindowWidth="2", VOILUTSequence=[make_lut([0, 1023, 4095], first=10, bits=12)])
    np.testing.assert_allclose(apply_voi_lut(np.array([0, 10, 11, 12, 50]), header), [0, 0, 1023 / 4095, 1, 1])


def test_table_after_a_rescale_takes_floats(make_lut):
    header = header_of(VOILUTSequence=[make_lut([0, 100, 255], bits=8)])
    np.testing.assert_allclose(apply_voi_lut(np.array([0.0, 1.0, 300.0]), header), [0, 100 / 255, 1])


def test_invalid_windows_are_ignored():
    assert read_windows(header_of(WindowCenter=["5", "7"], WindowWidth=["0", "3"])) == [(7.0, 3.0)]
    assert read_windows(header_of(WindowCenter="5")) == []
    assert apply_voi_lut(np.arange(3), header_of(WindowCenter="5", WindowWidth="0")) is None
