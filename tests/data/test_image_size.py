import nibabel
import numpy as np
import pytest
from PIL import Image

from mtmedformer_monai.data.image_size import read_image_size
from mtmedformer_monai.transforms import read_radiograph
from tests.data.little_images import write_image


def test_pictures(tmp_path):
    assert read_image_size(write_image(tmp_path / "a.png", width=12, height=8)) == (8, 12)
    assert read_image_size(write_image(tmp_path / "a.jpg", width=12, height=8)) == (8, 12)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_rotated_picture_has_the_size_of_the_loaded_image(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("L", (12, 8)).save(tmp_path / "a.jpg", exif=exif)
    assert read_image_size(tmp_path / "a.jpg") == read_radiograph(tmp_path / "a.jpg")[0].shape


def test_dicom(make_dicom):
    assert read_image_size(make_dicom(rows=16, columns=12)) == (16, 12)


def test_dicom_without_an_image(make_dicom):
    with pytest.raises(ValueError, match="contains no image"):
        read_image_size(make_dicom(Rows=None))


@pytest.mark.parametrize(
    "affine", [np.eye(4), np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])], ids=["axial", "turned"]
)
def test_nifti_has_the_size_of_the_loaded_image(tmp_path, affine):
    nibabel.save(nibabel.Nifti1Image(np.zeros((12, 8, 1), np.uint8), affine), tmp_path / "a.nii.gz")
    assert read_image_size(tmp_path / "a.nii.gz") == read_radiograph(tmp_path / "a.nii.gz")[0].shape


def test_arrays(tmp_path):
    np.save(tmp_path / "mask.npy", np.zeros((1, 8, 12), bool))
    assert read_image_size(tmp_path / "mask.npy") == (8, 12)


def test_arrays_with_several_channels_are_reported(tmp_path):
    np.save(tmp_path / "mask.npy", np.zeros((8, 12, 3), bool))
    with pytest.raises(ValueError, match=r"its array has the shape \(8, 12, 3\)"):
        read_image_size(tmp_path / "mask.npy")


def test_dicom_without_preamble(make_dicom):
    path = make_dicom(rows=16, columns=12)
    path.write_bytes(path.read_bytes()[132:])
    assert read_image_size(path) == (16, 12)


def test_other_files_are_reported(tmp_path):
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(ValueError, match="neither DICOM, PNG"):
        read_image_size(tmp_path / "a.png")
