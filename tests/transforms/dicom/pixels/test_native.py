from dataclasses import replace

import numpy as np
import pytest

from mtmedformer_monai.transforms.dicom.pixels.image_pixel import PixelForm
from mtmedformer_monai.transforms.dicom.pixels.native import interpret_bits, unpack_native

FORM = PixelForm(2, 3, 1, 16, 16, 15, is_signed=False, is_planar=False, photometric="MONOCHROME2")


@pytest.mark.parametrize("little_endian", [True, False])
@pytest.mark.parametrize("bits", [8, 16, 32])
def test_bytes_in_order(bits, little_endian):
    array = (np.arange(6) * 37).reshape(2, 3).astype(f"u{bits // 8}")
    data = array.astype(array.dtype.newbyteorder("<" if little_endian else ">")).tobytes() + b"\0"
    form = replace(FORM, bits_allocated=bits)
    samples = unpack_native(data, form, little_endian)
    np.testing.assert_array_equal(samples, array)
    assert samples.dtype == array.dtype


def test_eight_bits_in_big_endian_words():
    form = replace(FORM, rows=1, bits_allocated=8)
    assert unpack_native(bytes([2, 1, 0, 3]), form, little_endian=False, is_words=True).tolist() == [[1, 2, 3]]


def test_one_bit():
    assert unpack_native(bytes([0b001101]), replace(FORM, bits_allocated=1)).tolist() == [[1, 0, 1], [1, 0, 0]]


@pytest.mark.parametrize("planar", [False, True])
def test_color(planar):
    array = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    form = replace(FORM, samples=3, bits_allocated=8, is_planar=planar, photometric="RGB")
    data = (np.moveaxis(array, -1, 0) if planar else array).tobytes()
    np.testing.assert_array_equal(unpack_native(data, form), array)


def test_pairs_share_their_color():
    form = PixelForm(1, 4, 3, 8, 8, 7, is_signed=False, is_planar=False, photometric="YBR_FULL_422")
    samples = unpack_native(bytes([1, 2, 80, 90, 3, 4, 81, 91]), form)
    assert samples.tolist() == [[[1, 80, 90], [2, 80, 90], [3, 81, 91], [4, 81, 91]]]


def test_another_number_of_bytes():
    with pytest.raises(EOFError, match="11 bytes of 12"):
        unpack_native(bytes(11), FORM)
    with pytest.raises(ValueError, match="26 bytes, and a frame has 12"):
        unpack_native(bytes(26), FORM)


@pytest.mark.parametrize(
    ("bits", "signed", "high_bit", "codes", "values"),
    [
        pytest.param(16, False, None, [0, 65535], [0, 65535], id="all bits"),
        pytest.param(16, True, None, [0, 65535], [0, -1], id="all bits, signed"),
        pytest.param(12, False, None, [0x8001, 0x0FFF], [1, 4095], id="an overlay above"),
        pytest.param(12, True, None, [0x0800, 0x07FF, 0x8FFF], [-2048, 2047, -1], id="sign in bit 11"),
        pytest.param(12, False, 15, [0x0010, 0xFFF0], [1, 4095], id="aligned left"),
        pytest.param(12, True, 15, [0x0010, 0xFFF7], [1, -1], id="aligned left, signed"),
        pytest.param(20, True, None, [0, 65535], [0, 65535], id="fewer coded than stored"),
    ],
)
def test_bits(bits, signed, high_bit, codes, values):
    before = np.array(codes, dtype=np.uint16)
    assert interpret_bits(before, bits, signed, high_bit).tolist() == values
    assert before.tolist() == codes
