"""Complete streams with surplus data, as some software writes them, are decoded without loss."""

import struct

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.encaps import encapsulate, generate_frames

from mtmedformer_monai.transforms.dicom.read import read_header
from mtmedformer_monai.transforms.errors import BrokenPixelDataError
from tests.transforms.dicom.pixels.test_contradictions import COMPRESSED
from tests.transforms.reading_matrix import read_stored

PIXELS = np.random.default_rng(0).integers(0, 4096, (24, 20)).astype(np.uint16)
DELIMITER = b"\xfe\xff\xdd\xe0\0\0\0\0"


def item(value, length=None):
    return b"\xfe\xff\x00\xe0" + struct.pack("<L", len(value) if length is None else length) + value


def offsets(*numbers):
    return item(struct.pack(f"<{len(numbers)}L", *numbers))


FORMS = {
    "the end in the offset table": lambda frame: offsets(0, len(frame) + 8) + item(frame) + DELIMITER,
    "nonsense in the offset table": lambda frame: offsets(99, 7, 2**31) + item(frame) + DELIMITER,
    "no offset table": lambda frame: item(frame) + DELIMITER,
    "fragments in the offset table": lambda frame: (
        offsets(0, 108, 216) + item(frame[:100]) + item(frame[100:200]) + item(frame[200:]) + DELIMITER
    ),
    "small fragments": lambda frame: (
        item(b"") + b"".join(item(frame[start : start + 34]) for start in range(0, len(frame), 34)) + DELIMITER
    ),
    "an empty fragment": lambda frame: offsets(0) + item(frame) + item(b"") + DELIMITER,
    "no delimiter": lambda frame: offsets(0) + item(frame),
    "another element for a delimiter": lambda frame: offsets(0) + item(frame) + b"\xfc\xff\xfc\xffOB" + bytes(30),
    "zeros behind the stream": lambda frame: offsets(0) + item(frame + bytes(3000)) + DELIMITER,
    "bytes behind the stream": lambda frame: offsets(0) + item(frame + bytes(range(100))) + DELIMITER,
    "an item cut behind the stream": lambda frame: offsets(0) + item(frame, len(frame) + 10),
}


def replace_value(path, make_value):
    """Replaces the value of the pixel data, the last element of the file, with undefined length."""
    frame = next(generate_frames(pydicom.dcmread(path).PixelData, number_of_frames=1))
    raw = path.read_bytes()
    start = raw.rindex(b"\xe0\x7f\x10\x00OB\0\0")
    path.write_bytes(raw[: start + 8] + b"\xff\xff\xff\xff" + make_value(frame))


@pytest.mark.parametrize("syntax", COMPRESSED, ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("form", FORMS)
def test_whole_streams(make_dicom, syntax, form):
    path = make_dicom(pixels=PIXELS, transfer_syntax=syntax)
    replace_value(path, FORMS[form])
    np.testing.assert_array_equal(read_stored(path)[1], PIXELS)


@pytest.mark.parametrize("syntax", COMPRESSED, ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("form", FORMS)
def test_truncated_streams(make_dicom, syntax, form):
    path = make_dicom(pixels=PIXELS, transfer_syntax=syntax)
    replace_value(path, lambda frame: FORMS[form](frame[: len(frame) // 4 * 2]))
    with pytest.raises(BrokenPixelDataError):
        read_stored(path)


@pytest.mark.parametrize("lengths", [None, 1, 2])
def test_extended_offset_table(make_dicom, lengths):
    path = make_dicom(pixels=PIXELS, transfer_syntax=uid.JPEG2000Lossless)
    data = pydicom.dcmread(path)
    frame = next(generate_frames(data.PixelData, number_of_frames=1))
    data.PixelData = encapsulate([frame], has_bot=False)
    data.ExtendedOffsetTable = struct.pack("<2Q", 0, len(frame) + 8)[: 8 * (lengths or 1)]
    if lengths:
        data.ExtendedOffsetTableLengths = struct.pack("<2Q", len(frame), 0)[: 8 * lengths]
    data.save_as(path)
    assert len(read_header(path).ExtendedOffsetTable) == 8 * (lengths or 1)
    np.testing.assert_array_equal(read_stored(path)[1], PIXELS)


def test_padding_after_native_pixels(make_dicom):
    path = make_dicom(pixels=PIXELS, PixelData=PIXELS.tobytes() + bytes(300))
    np.testing.assert_array_equal(read_stored(path)[1], PIXELS)
