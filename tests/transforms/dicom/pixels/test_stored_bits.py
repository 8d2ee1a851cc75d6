"""The bits above Bits Stored in compressed streams are not part of the value (PS3.5 8.1.1), in any codec."""

import struct
import sys

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders.native import _encode_row

from mtmedformer_monai.transforms.dicom.pixels.decode import decode_pixels
from mtmedformer_monai.transforms.dicom.read import read_dicom

imagecodecs = pytest.importorskip("imagecodecs", reason="encodes what these tests read")

ROWS, COLUMNS = 24, 20
UNSIGNED = np.random.default_rng(0).integers(0, 4096, (ROWS, COLUMNS)).astype(np.uint16)
SIGNED = UNSIGNED.astype(np.int16) - 2048
CODES = SIGNED.view(np.uint16)
OVERLAY = np.zeros_like(UNSIGNED)
OVERLAY[5:15, 3:17] = 0x8000


def encode_jpeg2000(codes, bits):
    return imagecodecs.jpeg2k_encode(codes, codecformat="j2k", level=0, bitspersample=bits)


def encode_htj2k(codes, bits):
    return imagecodecs.htj2k_encode(codes, reversible=True)


def encode_jpeg_ls(codes, bits):
    import jpeg_ls

    return bytes(jpeg_ls.encode_buffer(codes.tobytes(), ROWS, COLUMNS, 1, bits))


def encode_jpeg(codes, bits):
    return imagecodecs.jpeg8_encode(codes.view(np.uint16), lossless=True, bitspersample=bits)


def encode_run_length(codes, bits):
    planes = codes.view(np.uint8).reshape(ROWS, COLUMNS, 2)
    segments = [b"".join(bytes(_encode_row(row.tobytes())) for row in planes[..., byte]) for byte in (1, 0)]
    return struct.pack("<16L", 2, 64, 64 + len(segments[0]), *[0] * 13) + b"".join(segments)


CODECS = {
    "JPEG 2000": (encode_jpeg2000, uid.JPEG2000Lossless),
    "JPEG 2000, lossy": (encode_jpeg2000, uid.JPEG2000),
    "HTJ2K": (encode_htj2k, uid.HTJ2KLossless),
    "JPEG-LS": (encode_jpeg_ls, uid.JPEGLSLossless),
    "JPEG-LS, near-lossless": (encode_jpeg_ls, uid.JPEGLSNearLossless),
    "JPEG lossless": (encode_jpeg, uid.JPEGLosslessSV1),
    "RLE": (encode_run_length, uid.RLELossless),
}


def write(make_dicom, codec, codes, coded_bits=16, **elements):
    encode, syntax = CODECS[codec]
    path = make_dicom(pixels=codes.view(np.uint16), **elements)
    data = pydicom.dcmread(path)
    data.file_meta.TransferSyntaxUID = syntax
    data.PixelData = encapsulate([encode(codes, coded_bits)])
    data["PixelData"].VR = "OB"
    data.save_as(path)
    return path


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(
    ("values", "codes", "high_bit"),
    [
        pytest.param(UNSIGNED, UNSIGNED, 11, id="nothing"),
        pytest.param(UNSIGNED, UNSIGNED | OVERLAY, 11, id="an overlay"),
        pytest.param(UNSIGNED, UNSIGNED | 0xF000, 11, id="ones"),
        pytest.param(SIGNED, CODES, 11, id="the sign"),
        pytest.param(SIGNED, CODES & 0xFFF, 11, id="no sign"),
        pytest.param(SIGNED, CODES & 0xFFF | OVERLAY, 11, id="an overlay and no sign"),
        pytest.param(UNSIGNED, UNSIGNED << 4, 15, id="aligned left"),
        pytest.param(SIGNED, CODES << 4, 15, id="aligned left, the sign"),
        pytest.param(UNSIGNED, UNSIGNED << 2 | 0xC003, 13, id="in the middle"),
    ],
)
def test_streams_of_sixteen_bits(make_dicom, codec, values, codes, high_bit):
    path = write(make_dicom, codec, codes, HighBit=high_bit, PixelRepresentation=int(values is SIGNED))
    np.testing.assert_array_equal(decode_pixels(path, pydicom.dcmread(path))[0], values)


@pytest.mark.parametrize("codec", ["JPEG 2000", "JPEG-LS", "JPEG lossless"])
@pytest.mark.parametrize("high_bit", [11, 15])
@pytest.mark.parametrize("signed", [0, 1])
def test_streams_of_the_stored_bits_are_right_aligned(make_dicom, codec, high_bit, signed):
    codes = CODES & 0xFFF if signed else UNSIGNED
    path = write(make_dicom, codec, codes, 12, HighBit=high_bit, PixelRepresentation=signed)
    np.testing.assert_array_equal(decode_pixels(path, pydicom.dcmread(path))[0], SIGNED if signed else UNSIGNED)


@pytest.mark.parametrize("codec", ["JPEG 2000", "HTJ2K"])
def test_streams_of_signed_samples(make_dicom, codec):
    path = write(make_dicom, codec, SIGNED, PixelRepresentation=1)
    np.testing.assert_array_equal(decode_pixels(path, pydicom.dcmread(path))[0], SIGNED)


def test_lossless_jpeg_by_gdcm(make_dicom, monkeypatch):
    path = write(make_dicom, "JPEG lossless", UNSIGNED << 4 | 5, HighBit=15)
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    np.testing.assert_array_equal(decode_pixels(path, pydicom.dcmread(path))[0], UNSIGNED)


@pytest.mark.parametrize(("signed", "center"), [(0, 2048), (1, 0)])
def test_lossy_values_beyond_the_stored_bits_do_not_wrap(make_dicom, signed, center):
    """A 16-bit encoder overshoots at edges; 4,097 must be white, not black."""
    steps = np.where(np.arange(COLUMNS) < COLUMNS // 2, 0, 4097).astype(np.int16) - 2050 * signed
    codes = np.repeat(steps[None], ROWS, axis=0)
    codes = codes if signed else codes.view(np.uint16)
    path = write(
        make_dicom, "JPEG 2000, lossy", codes,
        PixelRepresentation=signed, WindowCenter=center, WindowWidth=4096,
    )  # fmt: skip
    shown = read_dicom(path)[0]
    np.testing.assert_allclose(shown[:, : COLUMNS // 2], 0, atol=1e-3)
    np.testing.assert_allclose(shown[:, COLUMNS // 2 :], 1, atol=1e-3)
