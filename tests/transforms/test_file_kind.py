import bz2
import gzip
import io
import struct
import zipfile

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import uid

from mtmedformer_monai.transforms import errors, read_radiograph
from mtmedformer_monai.transforms.file_kind import is_data_set, sniff
from mtmedformer_monai.transforms.read_mask import read_mask

PIXELS = np.arange(64, dtype=np.uint16).reshape(8, 8) * 60
NATIVE = [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian]


@pytest.fixture
def bare(make_dicom, tmp_path):
    """Returns a factory of files without preamble: `make(syntax, with_meta, first_tag)`."""

    def make(syntax=uid.ExplicitVRLittleEndian, with_meta=False, first_tag=0, **elements):
        path = make_dicom(pixels=PIXELS, **elements)
        whole = pydicom.dcmread(path)
        data = pydicom.Dataset({element.tag: element for element in whole if element.tag >= first_tag})
        if syntax == uid.ExplicitVRBigEndian:
            data.PixelData = PIXELS.astype(">u2").tobytes()
        if with_meta:
            data.file_meta = whole.file_meta
            data.file_meta.TransferSyntaxUID = syntax
            data.save_as(path, enforce_file_format=False)
        else:
            data.save_as(path, implicit_vr=syntax.is_implicit_VR, little_endian=syntax.is_little_endian)
        assert path.read_bytes()[128:132] != b"DICM"
        return path

    return make


@pytest.mark.parametrize("syntax", NATIVE, ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("with_meta", [False, True], ids=["data set alone", "meta group"])
def test_without_preamble(bare, syntax, with_meta):
    np.testing.assert_allclose(read_radiograph(bare(syntax, with_meta))[0], PIXELS / PIXELS.max(), atol=1e-6)


@pytest.mark.parametrize("syntax", NATIVE, ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("start", [0x00080005, 0x00080008, 0x00080016, 0x00080018, 0x00080060])
def test_whatever_the_first_element_is(bare, syntax, start):
    path = bare(syntax, first_tag=start, SpecificCharacterSet="ISO_IR 100", ImageType=["ORIGINAL", "PRIMARY"])
    first = struct.unpack("<HH" if syntax.is_little_endian else ">HH", path.read_bytes()[:4])
    assert first == (start >> 16, start & 0xFFFF)
    assert read_radiograph(path)[0].shape == (8, 8)


def test_patient_first(bare):
    assert read_radiograph(bare(first_tag=0x00100010), modalities=None)[0].shape == (8, 8)


@pytest.mark.parametrize("explicit", [True, False])
def test_group_length_first(bare, explicit):
    path = bare(uid.ExplicitVRLittleEndian if explicit else uid.ImplicitVRLittleEndian)
    head = struct.pack("<HH2sHL", 8, 0, b"UL", 4, 0) if explicit else struct.pack("<HHLL", 8, 0, 4, 0)
    path.write_bytes(head + path.read_bytes())
    assert read_radiograph(path)[0].shape == (8, 8)


def test_long_first_element(bare):
    path = bare(ImageType=["DERIVED", *(f"TERM{index}" for index in range(900))])
    assert path.read_bytes()[:4] == b"\x08\0\x08\0"
    assert sniff(path) == "dicom"


def test_compressed_pixels_need_their_transfer_syntax(make_dicom):
    """Otherwise, the header of the compressed stream would be interpreted as pixels."""
    path = make_dicom(pixels=PIXELS, transfer_syntax=uid.RLELossless)
    data = path.read_bytes()
    path.write_bytes(data[132:])
    np.testing.assert_allclose(read_radiograph(path)[0], PIXELS / PIXELS.max(), atol=1e-6)
    path.write_bytes(data[data.index(b"\x08\0\x16\0UI") :])
    with pytest.raises(errors.BrokenPixelDataError, match="are compressed, but its Transfer Syntax UID"):
        read_radiograph(path)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        bytes(400),
        b"\x08\0\x16\0UI\xff\xff" + b"1" * 60,  # longer than the file
        b"\x08\0\x16\0??\x04\x00abcd" * 3,  # invalid VR, and far too long as implicit VR
        b"\x08\0\x16\0UI\x04\x00abcd\x08\0\x05\0CS\x04\x00abcd",  # descending tags
        b"\x07\0\x16\0UI\x04\x00abcd" * 2,
        b"\x08\0\xff\xffUI\x04\x00abcd" * 2,  # unknown to the dictionary
    ],
)
def test_not_a_data_set(head):
    assert not is_data_set(head, len(head))


def test_noise_is_not_a_data_set():
    random = np.random.default_rng(0)
    assert not any(is_data_set(random.bytes(200), 200) for _ in range(2000))
    starts = (b"\x08\0\x05\0" + random.bytes(200) for _ in range(2000))
    assert not any(is_data_set(head, 204) for head in starts)


def picture(kind, mode="L"):
    stream = io.BytesIO()
    Image.new(mode, (8, 8)).save(stream, kind)
    return stream.getvalue()


def zipped():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.dcm", b"hello")
    return stream.getvalue()


OTHERS = {
    "html": (b"\n<!DOCTYPE html><html>Login erforderlich f\xc3\xbcr</html>", "HTML or XML text.*; fetch the image"),
    "text": ("Größe;Seite\n1;links\n".encode(), "but text; fetch the image itself"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer; run git lfs pull"),
    "annex": (b"/annex/objects/MD5E-s1--0.dcm\n", "a git-annex pointer; run git annex get"),
    "tiff": (picture("TIFF"), "a TIFF picture; convert it"),
    "bmp": (picture("BMP"), "a BMP picture; convert it"),
    "gif": (picture("GIF"), "a GIF picture; convert it"),
    "pgm": (picture("PPM"), "a PNM picture; convert it"),
    "zip": (zipped(), "a ZIP archive; unzip it"),
    "bz2": (bz2.compress(b"hello" * 99), "a bzip2 file; bunzip2 it"),
    "gzip": (gzip.compress(b"hello" * 99), "a gzipped file; gunzip it"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3", "a PDF document; export the image in it"),
    "zeros": (bytes(5000), "only zeros"),
    "noise": (np.random.default_rng(0).bytes(5000), "; convert it to one of these, or exclude it"),
}


@pytest.mark.parametrize(("content", "name"), OTHERS.values(), ids=OTHERS)
def test_unsupported_types_are_named(tmp_path, content, name):
    (tmp_path / "a.dcm").write_bytes(content)
    with pytest.raises(errors.UnreadableFileError, match=f"a.dcm: it is neither DICOM, PNG, JPEG nor NIfTI.*{name}"):
        read_radiograph(tmp_path / "a.dcm")


@pytest.mark.parametrize("without_preamble", [False, True])
def test_gzipped_dicom(make_dicom, tmp_path, without_preamble):
    data = make_dicom(pixels=PIXELS).read_bytes()[132 * without_preamble :]
    (tmp_path / "a.dcm.gz").write_bytes(gzip.compress(data))
    with pytest.raises(errors.UnreadableFileError, match="but gzipped DICOM; gunzip it"):
        read_radiograph(tmp_path / "a.dcm.gz")


def test_damaged_gzip(tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(b"\x1f\x8b\x08" + bytes(7) + b"\xff" * 50)
    with pytest.raises(errors.UnreadableFileError, match="its gzip stream is damaged"):
        read_radiograph(tmp_path / "a.nii.gz")


def test_dicomdir(tmp_path):
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = uid.MediaStorageDirectoryStorage
    data.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    data.FileSetID, data.DirectoryRecordSequence = "DISK", []
    data.save_as(tmp_path / "DICOMDIR", enforce_file_format=True)
    with pytest.raises(errors.UnreadableFileError, match="it is a DICOMDIR, the index of a medium; name the images"):
        read_radiograph(tmp_path / "DICOMDIR")


def test_jpeg_under_the_name_of_a_png(tmp_path):
    (tmp_path / "a.png").write_bytes(picture("JPEG"))
    assert read_radiograph(tmp_path / "a.png")[0].shape == (8, 8)
    with pytest.raises(errors.UnreadableFileError, match=r"a mask is expected as PNG.* \(it is a JPEG picture\)"):
        read_mask(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["m.png", "m.nii", "m.npy"])
def test_mask_that_is_a_pointer_file(tmp_path, name):
    (tmp_path / name).write_bytes(OTHERS["lfs"][0])
    with pytest.raises(errors.UnreadableFileError, match="Git LFS pointer"):
        read_mask(tmp_path / name)
    (tmp_path / name).write_bytes(gzip.compress(picture("PNG")))
    with pytest.raises(errors.UnreadableFileError, match="gunzip it"):
        read_mask(tmp_path / name)
