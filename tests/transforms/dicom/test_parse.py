import zlib

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.dataset import Dataset

from mtmedformer_monai.transforms import errors
from mtmedformer_monai.transforms.dicom.parse import read_header

PIXELS = np.arange(12, dtype=np.uint16).reshape(3, 4) * 100
SYNTAXES = [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian, uid.RLELossless]


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
def test_elements_are_those_of_pydicom(make_dicom, syntax):
    path = make_dicom(transfer_syntax=syntax, WindowCenter=["5", "7"], ImagerPixelSpacing=[0.1, 0.2])
    ours, whole = read_header(path), pydicom.dcmread(path)
    for keyword in ("Rows", "BitsStored", "WindowCenter", "ImagerPixelSpacing", "SOPClassUID", "Modality"):
        assert ours[keyword].value == whole[keyword].value
    assert ours.PixelData.startswith(whole.PixelData)


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("kilobytes", [70, 1500])
def test_long_headers(make_dicom, make_lut, syntax, kilobytes):
    """The lookup tables do not fit into the first prefix of the file."""
    tables = [make_lut(np.arange(32000) % 4096, bits=12) for _ in range(kilobytes // 64 + 1)]
    path = make_dicom(pixels=PIXELS, transfer_syntax=syntax, VOILUTSequence=tables)
    header = read_header(path)
    assert len(header.VOILUTSequence) == len(tables)
    assert header.VOILUTSequence[-1].LUTData == tables[-1].LUTData
    assert len(header.PixelData) >= 10


def test_pixels_of_several_frames_are_not_loaded(make_dicom):
    path = make_dicom(pixels=np.zeros((3, 400, 500), dtype=np.uint16))
    assert read_header(path).PixelData == b""


def test_at_most_two_frames_are_loaded_if_the_header_is_wrong(make_dicom):
    path = make_dicom(pixels=np.zeros((1000, 1000), dtype=np.uint16), Rows=10, Columns=10)
    assert len(read_header(path).PixelData) == 2 * 200 + 2


def test_length_beyond_the_end_of_the_file(make_dicom):
    path = make_dicom(pixels=PIXELS)
    data = path.read_bytes()
    start = data.index(b"\xe0\x7f\x10\x00OW")
    path.write_bytes(data[: start + 8] + b"\xf0\xff\xff\xff" + data[start + 12 :])
    assert len(read_header(path).PixelData) == PIXELS.nbytes


def test_no_more_is_decompressed_than_the_frame_needs(make_dicom):
    import tracemalloc

    path = make_dicom(pixels=PIXELS, transfer_syntax=uid.DeflatedExplicitVRLittleEndian)
    data = path.read_bytes()
    head, body = _inflate(data)
    deflater = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    bomb = deflater.compress(body[:-24]) + b"".join(deflater.compress(bytes(2**20)) for _ in range(256))
    path.write_bytes(head + bomb + deflater.flush())
    tracemalloc.start()
    header = read_header(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(header.PixelData) <= PIXELS.nbytes
    assert peak < 2**21


def _inflate(data):
    start = 144 + int.from_bytes(data[140:144], "little")  # after the group 0002
    return data[:start], zlib.decompress(data[start:], -zlib.MAX_WBITS)


def test_element_that_does_not_parse(make_dicom):
    path = make_dicom(pixels=PIXELS)
    _overwrite(path, "Rows", "US", b"\1\0\2")
    with pytest.raises(errors.UnreadableFileError, match="its Rows does not parse; correct"):
        read_header(path)


def test_lengths_that_do_not_parse_are_missing(make_dicom):
    path = make_dicom(pixels=PIXELS, DistanceSourceToDetector="1000")
    _overwrite(path, "EstimatedRadiographicMagnificationFactor", "FD", b"\1\0\2")
    assert "EstimatedRadiographicMagnificationFactor" not in read_header(path)
    assert read_header(path).DistanceSourceToDetector == 1000


def _overwrite(path, keyword, vr, value):
    data = pydicom.dcmread(path)
    tag = pydicom.tag.Tag(keyword)
    data[tag] = pydicom.dataelem.RawDataElement(tag, vr, len(value), value, 0, False, True)
    data.save_as(path)


def test_not_dicom(tmp_path):
    (tmp_path / "a.dcm").write_bytes(bytes(128) + b"DICM" + bytes(100))
    with pytest.raises(errors.UnreadableFileError, match=r"a.dcm: "):
        read_header(tmp_path / "a.dcm")
    with pytest.raises(FileNotFoundError):
        read_header(tmp_path / "b.dcm")


def test_syntax_of_a_bare_data_set_is_guessed(tmp_path):
    data = Dataset()
    data.Modality, data.Rows = "DX", 3
    data.save_as(tmp_path / "a.dcm", implicit_vr=False, little_endian=True)
    assert read_header(tmp_path / "a.dcm").file_meta.TransferSyntaxUID == uid.ExplicitVRLittleEndian
