import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from mtmedformer_monai.transforms.dicom.grayscale.lookup_table import Lookup


def test_values_beyond_the_table_take_its_ends(make_lut):
    lookup = Lookup.from_item(make_lut([10, 20, 30], first=5), Dataset())
    assert lookup is not None
    assert lookup(np.array([0, 5, 6, 7, 99])).tolist() == [10, 10, 20, 30, 30]


def test_negative_first_value(make_lut):
    item = make_lut([1, 2, 3])
    item.add_new("LUTDescriptor", "SS", [3, -1, 16])
    lookup = Lookup.from_item(item, Dataset())
    assert lookup is not None
    assert lookup(np.array([-2, -1, 0, 1, 2])).tolist() == [1, 1, 2, 3, 3]


def test_zero_entries_stand_for_65536(make_lut):
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


@pytest.mark.parametrize(("declared", "used"), [(8, 12), (12, 12), (16, 16)])
def test_output_range_holds_every_entry(declared, used, make_lut):
    lookup = Lookup.from_item(make_lut([0, 4095], bits=declared), Dataset())
    assert lookup is not None
    assert lookup.bits == used


def test_too_few_entries_are_no_table(make_lut):
    item = make_lut([1, 2])
    item.LUTDescriptor = [5, 0, 16]
    assert Lookup.from_item(item, Dataset()) is None
    assert Lookup.from_item(Dataset(), Dataset()) is None
