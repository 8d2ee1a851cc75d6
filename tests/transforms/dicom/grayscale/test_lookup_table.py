import struct

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.dataset import Dataset

from mtmedformer_monai.transforms.dicom.grayscale.lookup_table import Lookup


def test_values_beyond_the_table_map_to_its_ends(make_lut):
    lookup = Lookup.from_item(make_lut([10, 20, 30], first=5), Dataset())
    assert lookup is not None
    assert lookup(np.array([0, 5, 6, 7, 99])).tolist() == [10, 10, 20, 30, 30]


def test_negative_first_value(make_lut):
    item = make_lut([1, 2, 3])
    item.add_new("LUTDescriptor", "SS", [3, -1, 16])
    lookup = Lookup.from_item(item, Dataset())
    assert lookup is not None
    assert lookup(np.array([-2, -1, 0, 1, 2])).tolist() == [1, 1, 2, 3, 3]


def test_zero_entries_mean_65536(make_lut):
    lookup = Lookup.from_item(make_lut(range(2**16)), Dataset())
    assert lookup is not None
    assert len(lookup.entries) == 2**16
    assert lookup(np.array([65535])).tolist() == [65535]


def test_eight_bit_entries_packed_in_bytes(make_lut):
    item = make_lut([0], bits=8)
    item.LUTDescriptor, item.LUTData = [4, 0, 8], bytes([1, 2, 3, 250])
    lookup = Lookup.from_item(item, Dataset())
    assert lookup is not None
    assert lookup(np.arange(4)).tolist() == [1, 2, 3, 250]
    assert lookup.bits == 8


def test_big_endian_words(make_lut):
    header = Dataset()
    header.file_meta = Dataset()
    header.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRBigEndian
    item = make_lut([0])
    item.LUTDescriptor, item.LUTData = [2, 0, 16], bytes([1, 0, 0, 2])
    lookup = Lookup.from_item(item, header)
    assert lookup is not None
    assert lookup.entries.tolist() == [256, 2]


@pytest.mark.parametrize("declared", [0, 8, 12, 16, 32])
def test_output_range_is_that_of_the_largest_entry(declared, make_lut):
    lookup = Lookup.from_item(make_lut([0, 4095], bits=declared), Dataset())
    assert lookup is not None
    assert lookup.bits == 12


def test_entries_of_zero_have_a_range(make_lut):
    lookup = Lookup.from_item(make_lut([0, 0]), Dataset())
    assert lookup is not None
    assert lookup.bits == 1


@pytest.mark.parametrize(
    ("vr", "data"),
    [("OW", struct.pack("<4H", 0, 40000, 65535, 7)), ("US", [0, 40000, 65535, 7]), ("SS", [0, -25536, -1, 7])],
    ids=["OW", "US", "SS"],
)
@pytest.mark.parametrize("descriptor", [[4, 2, 16], struct.pack("<3H", 4, 2, 16)], ids=["numbers", "bytes"])
def test_entries_are_unsigned_words_whatever_the_vr(vr, data, descriptor):
    item = Dataset()
    item.add_new("LUTDescriptor", "OW" if isinstance(descriptor, bytes) else "US", descriptor)
    item.add_new("LUTData", vr, data)
    lookup = Lookup.from_item(item, Dataset())
    assert lookup is not None
    assert lookup(np.arange(2, 6)).tolist() == [0, 40000, 65535, 7]


@pytest.mark.parametrize(("syntax", "order"), [(uid.ExplicitVRLittleEndian, "<"), (uid.ExplicitVRBigEndian, ">")])
@pytest.mark.parametrize("as_numbers", [False, True], ids=["OW", "US"])
def test_two_eight_bit_entries_per_word_with_the_first_in_the_low_byte(syntax, order, as_numbers):
    """By PS3.3 C.11.1.1.1 and PS3.5 8.1.1, the bytes of each pair are swapped in a big-endian file."""
    words = [1 + 256 * 2, 3 + 256 * 250]
    item, header = Dataset(), Dataset()
    header.file_meta = Dataset()
    header.file_meta.TransferSyntaxUID = syntax
    item.add_new("LUTDescriptor", "US", [4, 0, 8])
    item.add_new("LUTData", "US" if as_numbers else "OW", words if as_numbers else struct.pack(f"{order}2H", *words))
    lookup = Lookup.from_item(item, header)
    assert lookup is not None
    assert lookup(np.arange(4)).tolist() == [1, 2, 3, 250]


def test_too_few_entries_are_not_a_table(make_lut):
    item = make_lut([1, 2])
    item.LUTDescriptor = [5, 0, 16]
    assert Lookup.from_item(item, Dataset()) is None
    assert Lookup.from_item(Dataset(), Dataset()) is None
