"""Hostile DICOM files: a clear refusal within bounded memory."""

import struct
import tracemalloc
import zlib

import numpy as np
import pydicom
import pytest

from mtmedformer_monai.transforms.dicom.parse import read_header
from mtmedformer_monai.transforms.errors import RadiographError
from mtmedformer_monai.transforms.reading import read_radiograph

MEGABYTE = 2**20


def refuse(path, megabytes):
    """Reads a file that is refused, and returns the message; fails if the peak of memory is above the bound."""
    tracemalloc.start()
    try:
        with pytest.raises(RadiographError) as refusal:
            read_radiograph(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < megabytes * MEGABYTE
    assert "Doe" not in str(refusal.value)
    return str(refusal.value)


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"Rows": 60000, "Columns": 60000}, "60000 rows x 60000 columns"),
        ({"Rows": 60000, "Columns": 10}, "no radiograph has a side of more than 32,768"),
        ({"Rows": 30000, "Columns": 4000}, "ends inside its pixel data"),
        ({"NumberOfFrames": 2147483647}, "2147483647 frames"),
        ({"SamplesPerPixel": 65535}, "SamplesPerPixel|[Ss]amples"),
    ],
    ids=["square", "side", "truncated", "frames", "samples"],
)
def test_declared_sizes_are_not_allocated(make_dicom, elements, message):
    path = make_dicom()
    data = pydicom.dcmread(path)
    for keyword, value in elements.items():
        setattr(data, keyword, value)
    data.save_as(path)
    import re

    assert re.search(message, refuse(path, 8))


def test_a_deflated_bomb_is_not_inflated(make_dicom):
    path = make_dicom(transfer_syntax="1.2.840.10008.1.2.1.99")
    data = path.read_bytes()
    meta = data.index(b"1.2.840.10008.1.2.1.99")
    start = 144 + struct.unpack_from("<L", data, 140)[0]
    assert meta < start
    element = struct.pack("<HH2sHL", 0x0009, 0x1001, b"OB", 0, 2**29) + bytes(2**29)
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    path.write_bytes(data[:start] + deflate.compress(element) + deflate.flush())
    assert path.stat().st_size < MEGABYTE
    assert refuse(path, 700)


@pytest.mark.parametrize("depth", [100, 20_000])
def test_nested_sequences(make_dicom, depth):
    path = make_dicom(RequestAttributesSequence=None)
    data = path.read_bytes()
    place = data.index(struct.pack("<HH", 0x0028, 0x0002))
    head = struct.pack("<HH2sHL", 0x0020, 0x9221, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    tail = struct.pack("<HHL", 0xFFFE, 0xE00D, 0) + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    path.write_bytes(data[:place] + head * depth + tail * depth + data[place:])
    if depth == 100:
        assert read_header(path).Rows == 16
    else:
        assert "does not parse" in refuse(path, 64)


def test_a_truncated_file_is_refused(make_dicom):
    path = make_dicom(pixels=np.zeros((64, 64), np.uint16))
    path.write_bytes(path.read_bytes()[:-4000])
    assert "ends inside its pixel data" in refuse(path, 8)
