"""Files whose pixel data contradict the header raise a descriptive error instead of returning wrong pixels."""

import io
import struct

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate

from mtmedformer_monai.transforms.dicom.read import read_dicom
from mtmedformer_monai.transforms.errors import BrokenPixelDataError, UnreadableFileError, UnsupportedImageError

PIXELS = np.random.default_rng(0).integers(1, 4096, (24, 20)).astype(np.uint16)
NATIVE = [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian]
COMPRESSED = [uid.RLELossless, uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.JPEG2000Lossless]
ITEM = b"\xfe\xff\x00\xe0"


def rewrite(path, **elements):
    """Sets elements of a file; all other bytes are as pydicom writes them."""
    data = pydicom.dcmread(path)
    for keyword, value in elements.items():
        setattr(data, keyword, value)
    data.save_as(path)
    return path


def relabel(path, old, new):
    """Replaces the transfer syntax UID in the bytes of a file."""
    raw = path.read_bytes()
    size = max(len(old) + len(old) % 2, len(new) + len(new) % 2)
    assert raw.count(old.encode()) == 1
    start = raw.index(old.encode())
    length = struct.unpack("<H", raw[start - 2 : start])[0]
    value = new.encode().ljust(size, b"\0")
    group = struct.unpack("<L", raw[140:144])[0] + size - length
    head = raw[:140] + struct.pack("<L", group) + raw[144 : start - 2]
    path.write_bytes(head + struct.pack("<H", size) + value + raw[start + length :])


@pytest.mark.parametrize("syntax", COMPRESSED, ids=lambda syntax: syntax.name)
def test_encapsulated_under_an_uncompressed_syntax(make_dicom, syntax):
    path = make_dicom(pixels=PIXELS, transfer_syntax=syntax)
    relabel(path, syntax, uid.ExplicitVRLittleEndian)
    with pytest.raises(BrokenPixelDataError, match="are compressed, but its Transfer Syntax UID is missing or names"):
        read_dicom(path)


def test_raw_pixels_in_a_fragment_under_an_uncompressed_syntax(make_dicom):
    path = make_dicom(pixels=PIXELS, transfer_syntax=uid.JPEGLSLossless)
    data = pydicom.dcmread(path)
    data.PixelData = encapsulate([PIXELS.tobytes()])
    data.save_as(path)
    relabel(path, uid.JPEGLSLossless, uid.ExplicitVRLittleEndian)
    with pytest.raises(BrokenPixelDataError, match="are compressed, but its Transfer Syntax UID is missing or names"):
        read_dicom(path)


@pytest.mark.parametrize("syntax", NATIVE, ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("offsets", [b"", bytes(4)], ids=["empty table", "table"])
def test_items_of_defined_length_under_an_uncompressed_syntax(make_dicom, syntax, offsets):
    items = ITEM + struct.pack("<L", len(offsets)) + offsets + ITEM + struct.pack("<L", PIXELS.nbytes)
    path = make_dicom(pixels=PIXELS, transfer_syntax=syntax)
    rewrite(path, PixelData=items + PIXELS.tobytes())
    with pytest.raises(BrokenPixelDataError, match="hold encapsulated items"):
        read_dicom(path)


@pytest.mark.parametrize("form", ["JPEG", "JPEG2000"])
def test_bare_stream_that_is_as_long_as_the_frame(make_dicom, form):
    picture = np.full((24, 20), 100, np.uint8)
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, form, **({"no_jp2": True} if form == "JPEG2000" else {}))
    path = make_dicom(pixels=picture, bits=8)
    rewrite(path, PixelData=stream.getvalue().ljust(picture.size, b"\0")[: picture.size])
    with pytest.raises(BrokenPixelDataError, match="hold a compressed stream, but its transfer syntax is uncompre"):
        read_dicom(path)


@pytest.mark.parametrize("syntax", COMPRESSED, ids=lambda syntax: syntax.name)
def test_native_under_a_compressed_syntax(make_dicom, syntax):
    path = make_dicom(pixels=PIXELS)
    relabel(path, uid.ExplicitVRLittleEndian, syntax)
    with pytest.raises(BrokenPixelDataError, match="hold something other than encapsulated items, but its"):
        read_dicom(path)


@pytest.mark.parametrize(
    ("actual", "declared", "name"),
    [
        (uid.JPEG2000Lossless, uid.JPEGLosslessSV1, "JPEG 2000"),
        (uid.JPEG2000Lossless, uid.RLELossless, "JPEG 2000"),
        (uid.JPEGLSLossless, uid.JPEG2000Lossless, "JPEG"),
        (uid.RLELossless, uid.JPEGLSLossless, "RLE"),
    ],
    ids=str,
)
def test_stream_of_another_syntax(make_dicom, actual, declared, name):
    path = make_dicom(pixels=PIXELS, transfer_syntax=actual)
    relabel(path, actual, declared)
    with pytest.raises(BrokenPixelDataError, match=f"hold a {name} stream"):
        read_dicom(path)


def test_full_color_data_declared_as_422(make_dicom):
    """Simulates a file decompressed by a tool that left YBR_FULL_422 in the header."""
    gray = np.repeat(np.arange(64, dtype=np.uint8).reshape(8, 8, 1) * 4, 3, axis=2)
    path = make_dicom(pixels=gray, bits=8, photometric="YBR_FULL")
    rewrite(path, PhotometricInterpretation="YBR_FULL_422")
    with pytest.raises(BrokenPixelDataError, match="hold 192 bytes, but a frame has 128"):
        read_dicom(path)


@pytest.mark.parametrize("number", [2, 65535])
@pytest.mark.parametrize("keyword", ["PlanarConfiguration", "PixelRepresentation"])
def test_invalid_flags(make_dicom, keyword, number):
    path = make_dicom(pixels=np.zeros((4, 4, 3), np.uint8), bits=8, photometric="RGB", **{keyword: number})
    with pytest.raises(BrokenPixelDataError, match=f"its {keyword} is {number}, but 0 or 1 is expected"):
        read_dicom(path)


@pytest.mark.parametrize("vr", ["OF", "OD", "FL", "FD"])
def test_floating_point_in_pixel_data(make_dicom, vr):
    path = make_dicom(pixels=PIXELS.astype(np.uint32), bits=32)
    raw = path.read_bytes()
    start = raw.rindex(b"\xe0\x7f\x10\x00OW")
    value = raw[start + 12 :]
    header = vr.encode() + (b"\0\0" + struct.pack("<L", len(value)) if vr[0] == "O" else struct.pack("<H", len(value)))
    path.write_bytes(raw[: start + 4] + header + value)
    with pytest.raises(UnsupportedImageError, match="floating point"):
        read_dicom(path)


def test_several_frames_in_a_single_frame_file(make_dicom):
    path = make_dicom(pixels=PIXELS, transfer_syntax=uid.JPEGLSLossless)
    data = pydicom.dcmread(path)
    frame = next(pydicom.encaps.generate_frames(data.PixelData, number_of_frames=1))
    data.PixelData = encapsulate([frame, frame])
    data.save_as(path)
    with pytest.raises(BrokenPixelDataError, match="hold 2 frames, but one is expected; correct its header"):
        read_dicom(path)
    path = make_dicom(pixels=PIXELS, PixelData=PIXELS.tobytes() * 2)
    with pytest.raises(BrokenPixelDataError, match="hold 1920 bytes, but a frame has 960"):
        read_dicom(path)


def test_deflated_syntax_without_deflated_data(make_dicom):
    path = make_dicom(pixels=PIXELS)
    relabel(path, uid.ExplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian)
    with pytest.raises(UnreadableFileError, match="its transfer syntax is deflated, but its data set does not"):
        read_dicom(path)
