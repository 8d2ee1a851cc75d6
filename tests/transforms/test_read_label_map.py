import tracemalloc
import zlib

import itk
import nibabel
import numpy as np
import pytest
from PIL import Image

from mtmedformer_monai.transforms import RadiographError, read_label_map
from mtmedformer_monai.transforms.errors import AnnotationError

DRAWN = np.array([[0, 1, 2], [2, 0, 1]], dtype=np.uint8)  # (H, W) = (2, 3)

SLICER = np.diag([-0.4, -0.3, 1.0, 1.0])
CORONAL = np.array([[0.0, 0.4, 0.0, 5.0], [0.0, 0.0, 1.0, 0.0], [0.3, 0.0, 0.0, -7.0], [0.0, 0.0, 0.0, 1.0]])
"""The first axis runs from feet to head, the second from patient left to right, both opposite to the upright image."""


def save_png(path, values=DRAWN, mode=None):
    Image.fromarray(values, mode).save(path)


def save_palette_png(path):
    picture = Image.fromarray(DRAWN, "P")
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255])
    picture.save(path)


def save_nifti(path, values=DRAWN.T, affine=SLICER):
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(values), affine), path)


def save_itk(path, values=DRAWN, direction=None):
    image = itk.image_from_array(np.ascontiguousarray(values))
    if direction is not None:
        image.SetDirection(itk.matrix_from_array(direction))
    itk.imwrite(image, str(path), compression=True)


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("8bit.png", save_png),
        ("16bit.png", lambda path: save_png(path, DRAWN.astype(np.uint16))),
        ("palette.png", save_palette_png),
        ("plane.nii.gz", save_nifti),
        ("plane.nii", save_nifti),
        ("slice.nii.gz", lambda path: save_nifti(path, DRAWN.T[:, :, None])),
        ("slice_1_1.nii.gz", lambda path: save_nifti(path, DRAWN.T[:, :, None, None])),
        ("float.nii.gz", lambda path: save_nifti(path, DRAWN.T.astype(np.float32))),
        ("coronal.nii.gz", lambda path: save_nifti(path, DRAWN[::-1, ::-1][:, :, None], CORONAL)),
        ("plane.nrrd", save_itk),
        ("slice.nrrd", lambda path: save_itk(path, DRAWN[None])),
        ("float.nrrd", lambda path: save_itk(path, DRAWN[None].astype(np.float32))),
        ("int16.seg.nrrd", lambda path: save_itk(path, DRAWN[None].astype(np.int16))),
    ],
)
def test_numbers_are_at_the_drawn_pixels(tmp_path, name, save):
    save(tmp_path / name)
    np.testing.assert_array_equal(read_label_map(tmp_path / name), DRAWN)


def test_dicom_as_returned_by_the_server(make_dicom):
    path = make_dicom(pixels=DRAWN, bits=8, modality="OT")
    np.testing.assert_array_equal(read_label_map(path), DRAWN)


def test_dicom_in_color_is_a_wrong_annotation(make_dicom):
    path = make_dicom(pixels=np.zeros((2, 3, 3), np.uint8), bits=8, photometric="RGB", modality="OT")
    with pytest.raises(AnnotationError, match="is a color picture"):
        read_label_map(path)


def test_deflated_dicom_is_inflated_only_as_far_as_the_frame_requires(make_dicom):
    path = make_dicom(pixels=DRAWN, bits=8, modality="OT", transfer_syntax="1.2.840.10008.1.2.1.99")
    data = path.read_bytes()
    start = 144 + int.from_bytes(data[140:144], "little")
    padding = b"\xfc\xff\xfc\xffOB\0\0" + (2**26).to_bytes(4, "little") + bytes(2**26)  # Data Set Trailing Padding
    deflate = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    inflated = zlib.decompress(data[start:], -zlib.MAX_WBITS) + padding
    path.write_bytes(data[:start] + deflate.compress(inflated) + deflate.flush())
    del padding, inflated
    tracemalloc.start()
    try:
        np.testing.assert_array_equal(read_label_map(path), DRAWN)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_nrrd_across_the_body_is_turned_upright(tmp_path):
    # In LPS, rows run along +z, upward, so the first stored row is the lowest.
    save_itk(tmp_path / "a.nrrd", DRAWN[::-1][None], np.array([[1.0, 0, 0], [0, 0, 1.0], [0, 1.0, 0]]))
    np.testing.assert_array_equal(read_label_map(tmp_path / "a.nrrd"), DRAWN)


@pytest.mark.parametrize(
    ("name", "save", "message"),
    [
        ("color.png", lambda path: save_png(path, np.zeros((2, 3, 3), np.uint8)), "is a color picture .* not colors"),
        ("half.nii", lambda path: save_nifti(path, DRAWN.T / np.float32(2)), "negative, fractional or not finite"),
        ("minus.nrrd", lambda path: save_itk(path, -DRAWN.astype(np.int16)), "negative, fractional or not finite"),
        ("volume.nrrd", lambda path: save_itk(path, np.zeros((4, 2, 3), np.uint8)), r"shape \(3, 2, 4\)"),
    ],
)
def test_a_wrong_annotation_is_not_an_unreadable_file(tmp_path, name, save, message):
    """A wrong annotation must stop training, whereas unreadable files may be skipped."""
    save(tmp_path / name)
    with pytest.raises(AnnotationError, match=rf"{name}: the label map .*{message}"):
        read_label_map(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jpg", b"\xff\xd8\xff\xe0" + bytes(200), "PNG, NIfTI or NRRD"),
        ("a.nrrd", b"NRRD0004\ntype: nonsense\n\n", "header does not parse"),
        ("b.nrrd", b"NRRD0004\ntype: uchar\ndimension: 2\nsizes: 60 60\nencoding: raw\n\n12", "cannot be decoded"),
        (
            "c.nrrd",
            b"NRRD0004\ntype: uchar\ndimension: 2\nsizes: 99999 99999\nencoding: raw\n\n12",
            "more than the .* pixels of any",
        ),
        ("a.png", b"\x89PNG\r\n\x1a\n" + bytes(50), "header does not parse"),
    ],
)
def test_damaged_files_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RadiographError, match=rf"{name}: .*{message}"):
        read_label_map(tmp_path / name)
