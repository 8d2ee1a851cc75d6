import struct
from dataclasses import replace

import numpy as np
import pytest
from pydicom.pixels.encoders.native import _encode_segment

from mtmedformer_monai.transforms.dicom.pixels.image_pixel import ImagePixel
from mtmedformer_monai.transforms.dicom.pixels.run_length import decode_run_length

IMAGE_PIXEL = ImagePixel(3, 40, 1, 16, 12, 11, is_signed=False, is_planar=False, photometric="MONOCHROME2")


def frame_of(*segments):
    offsets = np.cumsum([64, *(len(segment) for segment in segments)])[:-1].tolist()
    header = struct.pack("<16L", len(segments), *offsets, *[0] * (15 - len(segments)))
    return header + b"".join(segments)


def test_two_bytes_per_sample():
    array = np.repeat(np.arange(60, dtype=np.uint16) * 64, 2).reshape(3, 40)
    planes = (array >> 8).astype(np.uint8), array.astype(np.uint8)
    frame = frame_of(*(b"".join(bytes(_encode_segment(row.tobytes(), 40)) for row in plane) for plane in planes))
    decoded = decode_run_length(frame, IMAGE_PIXEL)
    np.testing.assert_array_equal(decoded, array)
    assert decoded.dtype == np.uint16


def test_by_hand():
    """-2 repeats a byte three times, 1 copies two bytes, -128 is a no-op; runs may cross row boundaries."""
    segment = bytes([0xFE, 7, 0x80, 0x01, 8, 9, 0x00, 5])
    image_pixel = replace(IMAGE_PIXEL, rows=2, columns=3, bits_allocated=8)
    assert decode_run_length(frame_of(segment), image_pixel).tolist() == [[7, 7, 7], [8, 9, 5]]


def test_color_is_by_plane():
    image_pixel = replace(IMAGE_PIXEL, rows=1, columns=2, samples=3, bits_allocated=8, photometric="RGB")
    frame = frame_of(*(bytes([0xFF, value]) for value in (1, 2, 3)))
    assert decode_run_length(frame, image_pixel).tolist() == [[[1, 2, 3], [1, 2, 3]]]


@pytest.mark.parametrize(
    ("frame", "error", "problem"),
    [
        (bytes(10), ValueError, "no RLE header"),
        (frame_of(bytes(60)), ValueError, "1 segments, expected 2"),
        (struct.pack("<16L", 2, 64, 10**6, *[0] * 13) + bytes(99), EOFError, "a segment cut short"),
        (frame_of(bytes(60), bytes([0x00, 5])), EOFError, "a segment cut short"),
        (frame_of(bytes([0xFF, 5] * 30), bytes([0xFF, 5] * 30)), EOFError, "a segment cut short"),
    ],
)
def test_broken(frame, error, problem):
    with pytest.raises(error, match=problem):
        decode_run_length(frame, IMAGE_PIXEL)
