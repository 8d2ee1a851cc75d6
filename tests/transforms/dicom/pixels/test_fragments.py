import struct

import pytest
from pydicom.encaps import encapsulate

from mtmedformer_monai.transforms.dicom.pixels.fragments import join_fragments

DELIMITER = b"\xfe\xff\xdd\xe0" + bytes(4)


def item(value):
    return b"\xfe\xff\x00\xe0" + struct.pack("<L", len(value)) + value


@pytest.mark.parametrize("end", [b"", DELIMITER, DELIMITER + b"trailing"], ids=["none", "delimiter", "more"])
@pytest.mark.parametrize("table", [b"", bytes(4)], ids=["empty table", "table"])
def test_one_frame_of_several_fragments(table, end):
    assert join_fragments(item(table) + item(b"abcd") + item(b"ef") + end) == b"abcdef"


def test_what_pydicom_encapsulates():
    assert join_fragments(encapsulate([b"abcdef"], fragments_per_frame=3)) == b"abcdef"


def test_two_frames():
    with pytest.raises(ValueError, match="2 frames"):
        join_fragments(encapsulate([b"ab", b"cd"]))


def test_cut_short():
    with pytest.raises(EOFError, match="cut short"):
        join_fragments(item(b"") + item(b"abcdef")[:-1])


@pytest.mark.parametrize("data", [b"", DELIMITER])
def test_nothing(data):
    with pytest.raises(ValueError, match="no items"):
        join_fragments(data)


def test_something_else_than_items():
    with pytest.raises(ValueError, match="something else than an item"):
        join_fragments(item(b"") + bytes(20))
