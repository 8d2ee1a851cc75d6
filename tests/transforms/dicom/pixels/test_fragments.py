import struct

import pytest
from pydicom.encaps import encapsulate

from mtmedformer_monai.transforms.dicom.pixels.fragments import is_encapsulated, join_fragments, name_stream

DELIMITER = b"\xfe\xff\xdd\xe0" + bytes(4)


def item(value):
    return b"\xfe\xff\x00\xe0" + struct.pack("<L", len(value)) + value


@pytest.mark.parametrize("end", [b"", DELIMITER, DELIMITER + b"trailing"], ids=["none", "delimiter", "more"])
@pytest.mark.parametrize("table", [b"", bytes(4)], ids=["empty table", "table"])
def test_one_frame_of_several_fragments(table, end):
    assert join_fragments(item(table) + item(b"abcd") + item(b"ef") + end) == b"abcdef"


def test_data_encapsulated_by_pydicom():
    assert join_fragments(encapsulate([b"abcdef"], fragments_per_frame=3)) == b"abcdef"


def test_two_frames():
    with pytest.raises(ValueError, match="2 frames"):
        join_fragments(encapsulate([b"ab", b"cd"]))


def test_truncated():
    with pytest.raises(EOFError, match="cut short"):
        join_fragments(item(b"") + item(b"abcdef")[:-1])


@pytest.mark.parametrize("data", [b"", DELIMITER])
def test_nothing(data):
    with pytest.raises(ValueError, match="no items"):
        join_fragments(data)


def test_something_other_than_items():
    with pytest.raises(ValueError, match="something other than an item"):
        join_fragments(item(b"") + bytes(20))


STREAM = b"\xff\xd8\xff\xf7" + bytes(range(40)) + b"\xff\xd9"


def table(*offsets):
    return item(struct.pack(f"<{len(offsets)}L", *offsets))


@pytest.mark.parametrize(
    "items",
    [
        pytest.param(table(0, len(STREAM) + 8) + item(STREAM), id="the end as well"),
        pytest.param(table(0, len(STREAM)) + item(STREAM), id="the end without its header"),
        pytest.param(table(0, 18) + item(STREAM[:10]) + item(STREAM[10:]), id="every fragment"),
        pytest.param(table(0, 0, 0) + item(STREAM), id="zeros"),
        pytest.param(table(4711) + item(STREAM), id="nonsense"),
        pytest.param(item(bytes(6)) + item(STREAM), id="six bytes"),
        pytest.param(item(STREAM), id="none"),
        pytest.param(item(STREAM[:10]) + item(STREAM[10:]), id="none, two fragments"),
        pytest.param(item(b"") + item(b"") + item(STREAM) + item(b""), id="empty fragments"),
    ],
)
@pytest.mark.parametrize(
    "end",
    [b"", DELIMITER, DELIMITER[:5], b"\xfc\xff\xfc\xffOB\0\0\x04\0\0\0abcd"],
    ids=["no end", "delimiter", "half a delimiter", "the next element"],
)
def test_offset_table_does_not_matter_for_one_frame(items, end):
    assert join_fragments(items + end) == STREAM


@pytest.mark.parametrize("offsets", [(), (0,), (0, len(STREAM) + 8)], ids=["empty", "one", "both"])
def test_two_streams_are_two_frames_whatever_the_table(offsets):
    with pytest.raises(ValueError, match="2 frames, but one is expected"):
        join_fragments(table(*offsets) + item(STREAM) + item(STREAM))


def test_length_of_the_last_item_too_long():
    longer = item(b"") + b"\xfe\xff\x00\xe0" + struct.pack("<L", len(STREAM) + 2) + STREAM
    assert join_fragments(longer) == STREAM
    with pytest.raises(EOFError, match="cut short"):
        join_fragments(longer[:-2])


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"\xff\xd8\xff\xe0", "JPEG"),
        (b"\xff\x4f\xff\x51", "JPEG 2000"),
        (b"\0\0\0\x0cjP  ", "JPEG 2000"),
        (struct.pack("<16L", 2, 64, 99, *[0] * 13), "RLE"),
        (bytes(64), ""),
        (b"", ""),
    ],
)
def test_names_of_streams(start, name):
    assert name_stream(start) == name


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (table(0) + item(b"abcd") + DELIMITER, True),
        (item(b"") + item(bytes(500))[:100], True),
        (item(bytes(500))[:100], True),
        (b"\xff\xfe\xe0\x00" + bytes(4) + b"\xff\xfe\xe0\x00" + bytes(90), True),
        (b"\xfe\xff\x00\xe0" + bytes(100), False),
        (bytes(100), False),
        (b"", False),
    ],
    ids=["whole", "cut", "cut in the first", "big endian", "by chance", "zeros", "nothing"],
)
def test_whether_a_value_is_encapsulated(data, expected):
    assert is_encapsulated(data) is expected
