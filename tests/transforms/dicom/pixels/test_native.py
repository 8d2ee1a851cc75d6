from dataclasses import replace

import numpy as np
import pytest

from mtmedformer_monai.transforms.dicom.pixels.image_pixel import ImagePixel
from mtmedformer_monai.transforms.dicom.pixels.native import clip_overshoot, interpret_bits, unpack_native

IMAGE_PIXEL = ImagePixel(2, 3, 1, 16, 16, 15, is_signed=False, is_planar=False, photometric="MONOCHROME2")


@pytest.mark.parametrize("little_endian", [True, False])
@pytest.mark.parametrize("bits", [8, 16, 32])
def test_bytes_in_order(bits, little_endian):
    array = (np.arange(6) * 37).reshape(2, 3).astype(f"u{bits // 8}")
    data = array.astype(array.dtype.newbyteorder("<" if little_endian else ">")).tobytes() + b"\0"
    image_pixel = replace(IMAGE_PIXEL, bits_allocated=bits)
    samples = unpack_native(data, image_pixel, little_endian)
    np.testing.assert_array_equal(samples, array)
    assert samples.dtype == array.dtype


def test_eight_bits_in_big_endian_words():
    image_pixel = replace(IMAGE_PIXEL, rows=1, bits_allocated=8)
    assert unpack_native(bytes([2, 1, 0, 3]), image_pixel, little_endian=False, is_words=True).tolist() == [[1, 2, 3]]


def test_one_bit():
    assert unpack_native(bytes([0b001101]), replace(IMAGE_PIXEL, bits_allocated=1)).tolist() == [[1, 0, 1], [1, 0, 0]]


@pytest.mark.parametrize("planar", [False, True])
def test_color(planar):
    array = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    image_pixel = replace(IMAGE_PIXEL, samples=3, bits_allocated=8, is_planar=planar, photometric="RGB")
    data = (np.moveaxis(array, -1, 0) if planar else array).tobytes()
    np.testing.assert_array_equal(unpack_native(data, image_pixel), array)


def test_pairs_share_their_color():
    image_pixel = ImagePixel(1, 4, 3, 8, 8, 7, is_signed=False, is_planar=False, photometric="YBR_FULL_422")
    samples = unpack_native(bytes([1, 2, 80, 90, 3, 4, 81, 91]), image_pixel)
    assert samples.tolist() == [[[1, 80, 90], [2, 80, 90], [3, 81, 91], [4, 81, 91]]]


def test_wrong_number_of_bytes():
    with pytest.raises(EOFError, match="11 bytes of 12"):
        unpack_native(bytes(11), IMAGE_PIXEL)
    with pytest.raises(ValueError, match="26 bytes, but a frame has 12"):
        unpack_native(bytes(26), IMAGE_PIXEL)


@pytest.mark.parametrize(
    "surplus",
    [b"\0", b"\xff", b"\1\2\3", b"\0" * 58, b"\0" * 118],
    ids=["pad byte", "pad byte of ones", "less than a row and a column", "zeros", "zeros up to the next frame"],
)
def test_padding_after_the_frame(surplus):
    array = (np.arange(60) + 1).reshape(6, 10).astype(np.uint16)
    image_pixel = replace(IMAGE_PIXEL, rows=6, columns=10)
    np.testing.assert_array_equal(unpack_native(array.tobytes() + surplus, image_pixel), array)


ELEMENTS = {  # layouts: samples, bits, Photometric Interpretation, bytes of 6 x 10 pixels
    "1 bit": (1, 1, "MONOCHROME2", 8),
    "8 bits": (1, 8, "MONOCHROME2", 60),
    "16 bits": (1, 16, "MONOCHROME2", 120),
    "32 bits": (1, 32, "MONOCHROME2", 240),
    "RGB": (3, 8, "RGB", 180),
    "RGB, 16 bits": (3, 16, "RGB", 360),
    "pairs": (3, 8, "YBR_FULL_422", 120),
    "YBR": (3, 8, "YBR_FULL", 180),
}


@pytest.mark.parametrize("fill", ["noise", "zeros at the end"])
@pytest.mark.parametrize("held", ELEMENTS)
@pytest.mark.parametrize("declared", ELEMENTS)
def test_data_with_another_layout_are_never_accepted(declared, held, fill):
    samples, bits, photometric, size = ELEMENTS[declared]
    image_pixel = ImagePixel(
        6, 10, samples, bits, bits, bits - 1, is_signed=False, is_planar=False, photometric=photometric
    )
    length = ELEMENTS[held][3]
    data = np.random.default_rng(0).integers(1, 255, length, dtype=np.uint8)
    if fill != "noise":  # a frame that matches the header, and nothing after it
        data[size:] = 0
    if length == size:
        assert unpack_native(data.tobytes(), image_pixel).shape[:2] == (6, 10)
        return
    for padded in (data.tobytes(), data.tobytes() + b"\0"):
        with pytest.raises((EOFError, ValueError), match=rf"{len(padded)} bytes.* {size}"):
            unpack_native(padded, image_pixel)


@pytest.mark.parametrize(("rows", "columns"), [(5, 10), (6, 9), (7, 10), (6, 11), (3, 10), (6, 5)])
def test_data_of_another_size_are_never_accepted(rows, columns):
    data = np.random.default_rng(0).integers(1, 60000, (6, 10), dtype=np.uint16).tobytes()
    with pytest.raises((EOFError, ValueError), match="120 bytes"):
        unpack_native(data, replace(IMAGE_PIXEL, rows=rows, columns=columns))


@pytest.mark.parametrize(
    ("values", "kind", "clipped"),
    [
        pytest.param([0, 4095, 4100], "u2", [0, 4095, 4095], id="overshoot"),
        pytest.param([0, 4095, 4095 + 129], "u2", [0, 4095, 4224], id="more than overshoot"),
        pytest.param([-2050, 0, 2050], "i2", [-2048, 0, 2047], id="of signed values"),
        pytest.param([-2500, 0, 2050], "i2", [-2500, 0, 2050], id="more, of signed values"),
        pytest.param([0, 4095], "u2", [0, 4095], id="none"),
    ],
)
def test_overshoot_of_twelve_bits(values, kind, clipped):
    before = np.array(values, dtype=kind)
    assert clip_overshoot(before, 12).tolist() == clipped
    assert before.tolist() == values


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
