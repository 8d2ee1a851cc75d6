import io
import sys

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate, generate_frames

from mtmedformer_monai.transforms.dicom.pixels.decode import decode_pixels
from mtmedformer_monai.transforms.errors import (
    BrokenPixelDataError,
    MissingDecoderError,
    MultiFrameError,
    NoPixelsError,
)

LOSSLESS = [
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.RLELossless,
    uid.JPEGLossless,
    uid.JPEGLosslessSV1,
    uid.JPEGLSLossless,
    uid.JPEG2000Lossless,
]


def smooth(rows=40, columns=30, top=4095):
    return np.linspace(0, top, rows * columns).reshape(rows, columns).astype(np.uint8 if top < 256 else np.uint16)


@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_lossless_syntaxes(make_dicom, syntax, bits):
    pixels = smooth(top=2**bits - 1)
    if syntax == uid.ExplicitVRBigEndian:
        path = make_dicom(pixels=pixels.astype(pixels.dtype.newbyteorder(">")), bits=bits, transfer_syntax=syntax)
    else:
        path = make_dicom(pixels=pixels, bits=bits, transfer_syntax=syntax)
    header = pydicom.dcmread(path)
    assert header.file_meta.TransferSyntaxUID == syntax
    decoded, photometric = decode_pixels(path, header)
    assert photometric == "MONOCHROME2"
    np.testing.assert_array_equal(decoded, pixels)


@pytest.mark.parametrize(("syntax", "bits", "tolerance"), [(uid.JPEGBaseline8Bit, 8, 3), (uid.JPEG2000, 12, 40)])
def test_lossy_syntaxes(make_dicom, syntax, bits, tolerance):
    pixels = smooth(top=2**bits - 1)
    path = make_dicom(pixels=pixels, bits=bits, transfer_syntax=syntax)
    decoded, _ = decode_pixels(path, pydicom.dcmread(path))
    assert np.abs(decoded.astype(int) - pixels).max() <= tolerance  # 1 % of the range


def test_multi_frame(make_dicom):
    path = make_dicom(pixels=np.zeros((3, 4, 5), dtype=np.uint16))
    with pytest.raises(MultiFrameError, match="it has 3 frames, but one 2D image is expected"):
        decode_pixels(path, pydicom.dcmread(path))


def test_no_pixels(make_dicom):
    path = make_dicom(PixelData=None)
    with pytest.raises(NoPixelsError, match="no pixel data"):
        decode_pixels(path, pydicom.dcmread(path))


def test_no_size(make_dicom):
    path = make_dicom(Rows=0)
    with pytest.raises(NoPixelsError, match="0 rows x 12 columns"):
        decode_pixels(path, pydicom.dcmread(path))


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.JPEGLosslessSV1], ids=["raw", "JPEG"])
def test_implausible_size_is_refused_before_allocation(make_dicom, syntax):
    path = make_dicom(transfer_syntax=syntax)
    header = pydicom.dcmread(path)
    header.Rows, header.Columns = 65535, 65535
    with pytest.raises(BrokenPixelDataError, match="65535 rows x 65535 columns, more than"):
        decode_pixels(path, header)


def test_truncated_raw_pixels(make_dicom):
    path = make_dicom()
    header = pydicom.dcmread(path)
    header.PixelData = header.PixelData[:-10]
    with pytest.raises(
        BrokenPixelDataError, match=r"radiograph.dcm: it ends inside its pixel data \(Explicit VR Little Endian\)"
    ):
        decode_pixels(path, header)


@pytest.mark.parametrize(
    "syntax", [uid.RLELossless, uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.JPEG2000Lossless], ids=lambda s: s.name
)
def test_truncated_streams(make_dicom, syntax):
    pixels = np.random.default_rng(1).integers(0, 4096, (40, 30)).astype(np.uint16)
    path = make_dicom(pixels=pixels, transfer_syntax=syntax)
    header = pydicom.dcmread(path)
    frame = next(generate_frames(header.PixelData, number_of_frames=1))
    header.PixelData = encapsulate([frame[: len(frame) // 4 * 2]])
    with pytest.raises(BrokenPixelDataError, match=r"(cut short|ends inside).*; fetch the file"):
        decode_pixels(path, header)


@pytest.mark.parametrize("syntax", [uid.MPEG2MPML, uid.UID("1.2.3")], ids=lambda syntax: syntax.name)
def test_syntaxes_without_a_decoder(make_dicom, syntax):
    header = pydicom.dcmread(make_dicom(transfer_syntax=uid.JPEGLosslessSV1))
    header.file_meta.TransferSyntaxUID = syntax
    with pytest.raises(MissingDecoderError, match=f"no installed decoder reads its transfer syntax {syntax.name}"):
        decode_pixels("a.dcm", header)


@pytest.mark.parametrize(
    ("syntax", "library"),
    [(uid.JPEGLosslessSV1, "gdcm"), (uid.JPEGLSLossless, "jpeg_ls"), (uid.JPEG2000Lossless, "openjpeg")],
    ids=["gdcm", "pyjpegls", "openjpeg"],
)
def test_library_that_is_not_installed(make_dicom, monkeypatch, syntax, library):
    path = make_dicom(transfer_syntax=syntax)
    for name in (library, "gdcm", "imagecodecs"):
        monkeypatch.setitem(sys.modules, name, None)
    if library == "openjpeg":  # Pillow can decode it too
        monkeypatch.setattr("PIL.features.check", lambda _: False)
    with pytest.raises(MissingDecoderError, match="pip install python-gdcm pyjpegls"):
        decode_pixels(path, pydicom.dcmread(path))


def test_lossless_jpeg_without_imagecodecs(make_dicom, monkeypatch):
    pixels = smooth()
    path = make_dicom(pixels=pixels, transfer_syntax=uid.JPEGLosslessSV1)
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    np.testing.assert_array_equal(decode_pixels(path, pydicom.dcmread(path))[0], pixels)


def test_stream_whose_size_differs_from_the_header(make_dicom):
    path = make_dicom(transfer_syntax=uid.JPEG2000Lossless)
    header = pydicom.dcmread(path)
    header.Rows += 1
    with pytest.raises(BrokenPixelDataError, match=r"\(16, 12, 1\) of 16 bits, its header says \(17, 12, 1\) of 16"):
        decode_pixels(path, header)


def test_old_files_with_left_aligned_values(make_dicom):
    pixels = smooth()
    path = make_dicom(pixels=pixels << 4, HighBit=15)
    np.testing.assert_array_equal(decode_pixels(path, pydicom.dcmread(path))[0], pixels)


def test_overlay_in_unused_bits_is_cleared(make_dicom):
    pixels = smooth()
    path = make_dicom(pixels=pixels | 0x8000)
    np.testing.assert_array_equal(decode_pixels(path, pydicom.dcmread(path))[0], pixels)


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL_422"])
@pytest.mark.parametrize("app", ["JFIF", "none"])
def test_color_space_of_a_jpeg_comes_from_its_stream(make_dicom, photometric, app):
    """A JFIF marker means YBR regardless of the header; without a marker, the header is used."""
    picture = Image.new("RGB", (16, 16), (200, 10, 60))
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=95, subsampling=0, keep_rgb=photometric == "RGB" and app == "none")
    frame = stream.getvalue()
    if app == "none" and frame[2:4] == b"\xff\xe0":
        frame = frame[:2] + frame[4 + int.from_bytes(frame[4:6], "big") :]
    path = make_dicom(pixels=np.zeros((16, 16, 3), np.uint8), bits=8, photometric="RGB")
    header = pydicom.dcmread(path)
    header.PixelData, header.PhotometricInterpretation = encapsulate([frame]), photometric
    header.file_meta.TransferSyntaxUID = uid.JPEGBaseline8Bit
    decoded, found = decode_pixels(path, header)
    assert found == ("RGB" if photometric == "RGB" and app == "none" else "YBR_FULL" if app == "JFIF" else photometric)
    expected = (200, 10, 60) if found == "RGB" else picture.convert("YCbCr").getpixel((0, 0))
    np.testing.assert_allclose(decoded[8, 8], expected, atol=3)  # lossy
