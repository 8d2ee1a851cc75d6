import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.encaps import encapsulate, generate_frames

from mtmedformer_monai.transforms.decode import decode_pixels
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
    assert np.abs(decoded.astype(int) - pixels).max() <= tolerance  # 1 percent of the range


def test_multi_frame(make_dicom):
    path = make_dicom(pixels=np.zeros((3, 4, 5), dtype=np.uint16))
    with pytest.raises(MultiFrameError, match="it has 3 frames, and one 2D image is expected"):
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
def test_absurd_size_is_refused_before_it_is_allocated(make_dicom, syntax):
    path = make_dicom(transfer_syntax=syntax)
    header = pydicom.dcmread(path)
    header.Rows, header.Columns = 65535, 65535
    with pytest.raises(BrokenPixelDataError, match="65535 rows x 65535 columns, more than"):
        decode_pixels(path, header)


def test_raw_pixels_cut_short(make_dicom):
    path = make_dicom()
    header = pydicom.dcmread(path)
    header.PixelData = header.PixelData[:-10]
    with pytest.raises(
        BrokenPixelDataError, match=r"radiograph.dcm: its pixel data \(Explicit VR Little Endian\) are cut"
    ):
        decode_pixels(path, header)


@pytest.mark.parametrize(
    "syntax", [uid.RLELossless, uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.JPEG2000Lossless], ids=lambda s: s.name
)
def test_streams_cut_short(make_dicom, syntax):
    pixels = np.random.default_rng(1).integers(0, 4096, (40, 30)).astype(np.uint16)
    path = make_dicom(pixels=pixels, transfer_syntax=syntax)
    header = pydicom.dcmread(path)
    frame = next(generate_frames(header.PixelData, number_of_frames=1))
    header.PixelData = encapsulate([frame[: len(frame) // 4 * 2]])
    with pytest.raises(BrokenPixelDataError, match="cut short or damaged; fetch the file again"):
        decode_pixels(path, header)


@pytest.mark.parametrize(
    ("syntax", "package"),
    [
        (uid.HTJ2KLossless, "pip install pylibjpeg pylibjpeg-openjpeg"),
        (uid.JPEGExtended12Bit, "pip install pylibjpeg pylibjpeg-libjpeg"),
        (uid.MPEG2MPML, "pip install"),
    ],
)
def test_missing_decoder_names_the_package(make_dicom, syntax, package):
    pytest.importorskip("pydicom", minversion="3")
    path = make_dicom(transfer_syntax=uid.JPEGLosslessSV1)
    header = pydicom.dcmread(path)
    header.file_meta.TransferSyntaxUID = syntax
    if _has_pylibjpeg():
        pytest.skip("the optional decoders are installed")
    with pytest.raises(MissingDecoderError, match=package):
        decode_pixels(path, header)


def _has_pylibjpeg():
    from importlib.util import find_spec

    return find_spec("pylibjpeg") is not None
