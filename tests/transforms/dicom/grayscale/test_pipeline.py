import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from mtmedformer_monai.transforms.dicom.grayscale.pipeline import to_unit_range


def header_of(**elements):
    header = Dataset()
    defaults = {"PhotometricInterpretation": "MONOCHROME2", "BitsStored": 12, "PixelRepresentation": 0}
    for keyword, value in {**defaults, **elements}.items():
        setattr(header, keyword, value)
    return header


STORED = np.array([[0, 100, 200], [300, 400, 1000]], dtype=np.uint16)


def test_without_voi_the_range_of_values_becomes_zero_to_one():
    np.testing.assert_allclose(to_unit_range(STORED, header_of()), STORED / 1000, atol=1e-7)


def test_eight_bits_keep_the_stored_range_as_a_png_does():
    stored = np.array([[10, 200]], dtype=np.uint8)
    np.testing.assert_allclose(to_unit_range(stored, header_of(BitsStored=8)), stored / 255, atol=1e-7)


def test_padding_is_excluded_and_becomes_background():
    header = header_of(PixelPaddingValue=1000)
    expected = np.array([[0, 0.25, 0.5], [0.75, 1, 0]])
    np.testing.assert_allclose(to_unit_range(STORED, header), expected, atol=1e-7)


def test_padding_is_background_after_the_inversion():
    header = header_of(PixelPaddingValue=0, PhotometricInterpretation="MONOCHROME1")
    expected = np.array([[0, 1, 8 / 9], [7 / 9, 6 / 9, 0]])
    np.testing.assert_allclose(to_unit_range(STORED, header), expected, atol=1e-6)


def test_window_sets_the_range_whatever_the_values():
    header = header_of(WindowCenter="500", WindowWidth="1000", VOILUTFunction="LINEAR_EXACT")
    np.testing.assert_allclose(to_unit_range(STORED, header), STORED / 1000, atol=1e-7)
    np.testing.assert_allclose(to_unit_range(STORED[:1], header), STORED[:1] / 1000, atol=1e-7)


@given(st.integers(1, 4000), st.integers(2, 4000), st.sampled_from(["LINEAR", "SIGMOID"]))
def test_monochrome1_is_the_inverse_of_monochrome2(center, width, function):
    window = {"WindowCenter": center, "WindowWidth": width, "VOILUTFunction": function}
    usual = to_unit_range(STORED, header_of(**window))
    inverse = to_unit_range(STORED, header_of(**window, PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_allclose(inverse, 1 - usual, atol=1e-6)


def test_signed_values_and_a_rescale():
    stored = np.array([[-1000, 0, 1000]], dtype=np.int16)
    header = header_of(PixelRepresentation=1, BitsStored=16, RescaleSlope="2", RescaleIntercept="-5")
    np.testing.assert_allclose(to_unit_range(stored, header), [[0, 0.5, 1]], atol=1e-7)


def test_values_above_the_declared_bits_count():
    assert to_unit_range(np.array([[0, 5000, 10000]], dtype=np.uint16), header_of()).tolist() == [[0, 0.5, 1]]


def test_thirty_two_bits():
    stored = np.array([[0, 10**6, 4 * 10**6]], dtype=np.uint32)
    np.testing.assert_allclose(to_unit_range(stored, header_of(BitsStored=32)), [[0, 0.25, 1]], atol=1e-7)


def test_thirty_two_bits_in_more_rows_than_one_band():
    stored = np.arange(70 * 3, dtype=np.int32).reshape(70, 3) * 10**6
    header = header_of(BitsStored=32, PixelRepresentation=1, PixelPaddingValue=0)
    expected = np.clip((stored - 10**6) / (stored.max() - 10**6), 0, 1)
    np.testing.assert_allclose(to_unit_range(stored, header), expected, atol=1e-6)


@pytest.mark.parametrize("value", [0, 7])
def test_a_constant_image_is_finite(value):
    assert to_unit_range(np.full((2, 2), value, dtype=np.uint16), header_of()).tolist() == [[0, 0], [0, 0]]


def test_more_rows_than_one_band():
    stored = np.arange(70 * 3, dtype=np.uint16).reshape(70, 3)
    np.testing.assert_allclose(to_unit_range(stored, header_of()), stored / stored.max(), atol=1e-7)
