import struct

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.dataset import Dataset

from mtmedformer_monai.transforms.dicom.grayscale.context_vr import choose_first, read_stored_range, read_words
from mtmedformer_monai.transforms.dicom.read import read_dicom

SYNTAXES = [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian]
STORED = np.random.default_rng(0).integers(0, 4096, (8, 9)).astype(np.uint16)
SQUARES = [value * value // 4095 for value in range(4096)]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, []),
        ("", []),
        (7, [7]),
        (-1, [65535]),
        ("12", [12]),
        ([4096, -2048, 12], [4096, 63488, 12]),
        (struct.pack("<2H", 1, 65535), [1, 65535]),
    ],
    ids=str,
)
def test_words(value, words):
    assert read_words(value, Dataset()) == words


def test_words_of_big_endian_bytes():
    header = Dataset()
    header.file_meta = Dataset()
    header.file_meta.TransferSyntaxUID = uid.ExplicitVRBigEndian
    assert read_words(b"\1\0", header) == [256]


@pytest.mark.parametrize(
    ("signed", "bits", "ends"),
    [(0, 12, (0, 4095)), (1, 12, (-2048, 2047)), (1, 16, (-32768, 32767)), (0, None, (0, 65535))],
)
def test_stored_range(signed, bits, ends):
    header = Dataset()
    header.PixelRepresentation = signed
    if bits:
        header.BitsStored = bits
    assert read_stored_range(header) == ends


@pytest.mark.parametrize(
    ("word", "count", "inputs", "declared", "first"),
    [
        pytest.param(5, 10, (0, 4095), 5, 5, id="unambiguous"),
        pytest.param(63488, 4096, (-2048, 2047), 63488, -2048, id="signed values"),
        pytest.param(40000, 4096, (0, 65535), 40000, 40000, id="unsigned values"),
        pytest.param(40000, 4096, (-1024, 64511), 40000, 40000, id="signed values that reach so far"),
        pytest.param(65535, 3, (0, 4095), -1, -1, id="signed though no value is"),
        pytest.param(63488, 4096, (0, 65535), -2048, -2048, id="the VR decides if both fit"),
        pytest.param(63488, 4096, (0, 65535), 63488, 63488, id="the other VR decides too"),
    ],
)
def test_sign_of_the_first_value(word, count, inputs, declared, first):
    assert choose_first(word, count, inputs, declared) == first


def table(first, vr, data_vr):
    item = Dataset()
    words = [4096, first % 0x10000, 12]
    item.add_new("LUTDescriptor", vr, {"SS": [4096, first, 12], "US": words}.get(vr, struct.pack("<3H", *words)))
    item.add_new("LUTData", data_vr, SQUARES if data_vr in {"US", "SS"} else np.array(SQUARES, "<u2").tobytes())
    return item


@pytest.mark.parametrize("data_vr", ["US", "SS", "OW"])
@pytest.mark.parametrize("vr", ["US", "SS", "UN", "OW"])
@pytest.mark.parametrize("kind", ["signed pixels", "negative intercept", "positive values"])
@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
def test_voi_lut_by_any_vr(make_dicom, syntax, kind, vr, data_vr):
    signed, first = kind == "signed pixels", 0 if kind == "positive values" else -2048
    pixels = STORED.astype(np.int16) - 2048 if signed else STORED
    rescale = {"RescaleSlope": "1", "RescaleIntercept": "-2048"} if kind == "negative intercept" else {}
    path = make_dicom(pixels=pixels, transfer_syntax=syntax, VOILUTSequence=[table(first, vr, data_vr)], **rescale)
    # entries are rounded down by up to 1 of 4,095
    np.testing.assert_allclose(read_dicom(path)[0], (STORED / 4095) ** 2, atol=1 / 4095)


@pytest.mark.parametrize("vr", ["US", "SS", "OW"])
@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
def test_modality_lut_of_signed_pixels_by_any_vr(make_dicom, syntax, vr):
    item = table(-2048, vr, "OW")
    item.ModalityLUTType = "US"
    path = make_dicom(
        pixels=STORED.astype(np.int16) - 2048, transfer_syntax=syntax, ModalityLUTSequence=[item],
        WindowCenter="2048", WindowWidth="4096",
    )  # fmt: skip
    np.testing.assert_allclose(read_dicom(path)[0], (STORED / 4095) ** 2, atol=1 / 4095)


def test_voi_lut_after_a_modality_lut_takes_unsigned_values(make_dicom, make_lut):
    """The outputs of the first table are 40,000 or more, where the second table starts."""
    steps = make_lut([40000 + value for value in range(4096)])
    curve = make_lut([0, 1, 2, 3], first=40000, bits=2)
    path = make_dicom(pixels=np.array([[0, 1], [2, 3]], np.int16), ModalityLUTSequence=[steps], VOILUTSequence=[curve])
    np.testing.assert_allclose(read_dicom(path)[0] * 3, [[0, 1], [2, 3]], atol=1e-6)


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("vr", ["US", "SS"])
def test_padding_range_of_signed_pixels_by_any_vr(make_dicom, syntax, vr):
    pixels = np.array([[-2048, -2000, -1999], [0, 1000, 2047]], np.int16)
    path = make_dicom(pixels=pixels, transfer_syntax=syntax, photometric="MONOCHROME1")
    data = pydicom.dcmread(path)
    for keyword, value in {"PixelPaddingValue": -2048, "PixelPaddingRangeLimit": -2000}.items():
        data.add_new(keyword, vr, value if vr == "SS" else value + 0x10000)
    data.save_as(path)
    shown = read_dicom(path)[0]
    assert (shown == 0).tolist() == [[True, True, False], [False, False, True]]  # the largest value is black too
    assert shown[0, 2] == 1.0
