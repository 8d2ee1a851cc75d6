import io
import struct

import jpeg_ls
import numpy as np
import pytest
from PIL import Image

from mtmedformer_monai.transforms.dicom.pixels.codestream import read_jpeg2000_header, read_jpeg_header
from mtmedformer_monai.transforms.limits import MAX_SCANS

GRAY = np.arange(20 * 30, dtype=np.uint8).reshape(20, 30)
COLOR = np.repeat(GRAY[..., None], 3, axis=2)


def encode(array, kind, **options):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("stream", "samples", "color"),
    [
        (encode(GRAY, "JPEG"), 1, "YBR"),
        (encode(COLOR, "JPEG"), 3, "YBR"),
        (encode(COLOR, "JPEG", progressive=True), 3, "YBR"),
        (encode(COLOR, "JPEG", keep_rgb=True), 3, "RGB"),
    ],
    ids=["gray", "color", "progressive", "RGB"],
)
def test_jpeg(stream, samples, color):
    header = read_jpeg_header(stream)
    assert (header.rows, header.columns, header.samples, header.bits, header.color) == (20, 30, samples, 8, color)


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_jpeg_ls(bits):
    array = np.linspace(0, 2**bits - 1, 600).reshape(20, 30).astype(np.uint8 if bits == 8 else np.uint16)
    header = read_jpeg_header(bytes(jpeg_ls.encode_array(array)))
    assert (header.rows, header.columns, header.samples, header.bits, header.color) == (20, 30, 1, bits, "")


@pytest.mark.parametrize("array", [GRAY, COLOR, GRAY.astype(np.uint16) * 200], ids=["gray", "color", "16 bits"])
@pytest.mark.parametrize("bare", [True, False])
def test_jpeg2000(array, bare):
    header = read_jpeg2000_header(encode(array, "JPEG2000", no_jp2=bare))
    expected = (20, 30, array[0, 0].size, 8 * array.itemsize, False)
    assert (header.rows, header.columns, header.samples, header.bits, header.is_signed) == expected


def test_fill_bytes_before_a_marker():
    stream = encode(GRAY, "JPEG")
    assert read_jpeg_header(stream[:2] + b"\xff\xff\xff" + stream[2:]).rows == 20


@pytest.mark.parametrize(
    ("stream", "problem"),
    [
        (b"", "no JPEG stream"),
        (b"\xff\xd8\xff\xd9" + bytes(9), "no start of frame"),
        (b"\xff\xd8\xff\xd0" * 9, "no marker"),
        (b"\xff\xd8" + bytes(20), "no marker"),
        (b"\xff\xd8\xff\xc0\x00\x05\x08\x00\x01", "cut short"),
        (b"\xff\xd8" + b"\xff\xda" * (MAX_SCANS + 1), "too many scans"),
        (b"\xff\xd8\xff\xf8\x00\x0d\x04" + bytes(20), "in a preset"),
    ],
)
def test_damaged_jpeg(stream, problem):
    with pytest.raises(ValueError, match=problem):
        read_jpeg_header(stream)


def changed(offset, form, *values):
    stream = bytearray(encode(GRAY, "JPEG2000", no_jp2=True))
    struct.pack_into(form, stream, offset, *values)
    return bytes(stream)


@pytest.mark.parametrize(
    ("stream", "problem"),
    [
        (bytes(100), "no JPEG 2000 stream"),
        (changed(8, ">2L", 0, 0), "empty size"),
        (changed(24, ">2L", 1, 1), "too many tiles"),
        (changed(40, ">H", 3), "different depth or size"),
        (changed(43, ">2B", 2, 2), "different depth or size"),
    ],
)
def test_damaged_jpeg2000(stream, problem):
    with pytest.raises(ValueError, match=problem):
        read_jpeg2000_header(stream)


def test_precincts_of_one_pixel():
    stream = bytearray(encode(np.zeros((512, 512), np.uint8), "JPEG2000", no_jp2=True, precinct_size=(128, 128)))
    assert read_jpeg2000_header(bytes(stream)).rows == 512
    cod = stream.index(b"\xff\x52")
    stream[cod + 14 : cod + 15 + stream[cod + 9]] = bytes(1 + stream[cod + 9])
    with pytest.raises(ValueError, match="too many precincts"):
        read_jpeg2000_header(bytes(stream))
