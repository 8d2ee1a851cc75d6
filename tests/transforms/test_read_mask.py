import nibabel
import numpy as np
import pytest
from PIL import Image

from mtmedformer_monai.transforms.errors import RadiographError, UnreadableFileError
from mtmedformer_monai.transforms.read_mask import read_mask

MASK = np.array([[True, False, True], [False, False, True]])


@pytest.mark.parametrize(
    "array",
    [
        pytest.param(MASK, id="1 bit"),
        pytest.param(MASK.astype(np.uint8), id="0 and 1"),
        pytest.param(MASK.astype(np.uint8) * 255, id="0 and 255"),
        pytest.param(MASK.astype(np.uint16) * 40000, id="16 bits"),
        pytest.param(np.repeat(MASK[..., None].astype(np.uint8) * 255, 3, axis=2), id="RGB"),
        pytest.param(np.dstack([MASK * 200, MASK * 0, MASK * 0, MASK * 0 + 255]).astype(np.uint8), id="RGBA, red"),
        pytest.param(np.dstack([MASK * 0 + 255] * 3 + [MASK * 255]).astype(np.uint8), id="RGBA, by transparency"),
    ],
)
def test_png(tmp_path, array):
    Image.fromarray(array).save(tmp_path / "m.png")
    mask = read_mask(tmp_path / "m.png")
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, MASK)


def test_palette_goes_by_its_colors(tmp_path):
    picture = Image.fromarray((~MASK).astype(np.uint8), mode="P")
    picture.putpalette([0, 200, 0, 0, 0, 0])  # index 0 is green, 1 is black
    picture.save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), MASK)


def test_npy(tmp_path):
    np.save(tmp_path / "m.npy", MASK[None].astype(np.float32))
    np.testing.assert_array_equal(read_mask(tmp_path / "m.npy"), MASK)


@pytest.mark.parametrize("name", ["m.nii", "m.nii.gz"])
def test_nifti(tmp_path, name):
    nibabel.Nifti1Image(MASK.T[..., None].astype(np.uint8), np.eye(4)).to_filename(tmp_path / name)
    np.testing.assert_array_equal(read_mask(tmp_path / name), MASK)


def test_jpeg_is_refused(tmp_path):
    Image.fromarray(MASK.astype(np.uint8)).save(tmp_path / "m.jpg")
    with pytest.raises(UnreadableFileError, match=r"m.jpg: a mask is expected as PNG, NIfTI or .npy; convert it"):
        read_mask(tmp_path / "m.jpg")


def test_broken_png(tmp_path):
    (tmp_path / "m.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(UnreadableFileError, match="picture header does not parse"):
        read_mask(tmp_path / "m.png")


def test_png_cut_short(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)).save(tmp_path / "m.png")
    (tmp_path / "m.png").write_bytes((tmp_path / "m.png").read_bytes()[:-1000])
    with pytest.raises(UnreadableFileError, match="does not decode"):
        read_mask(tmp_path / "m.png")


@pytest.mark.parametrize("shape", [(10**5, 10**5), (3, 4, 5)])
def test_npy_of_an_absurd_shape(tmp_path, shape):
    with (tmp_path / "m.npy").open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": "|b1", "fortran_order": False, "shape": shape})
    with pytest.raises(RadiographError, match=r"m.npy: "):
        read_mask(tmp_path / "m.npy")


def test_broken_npy(tmp_path):
    (tmp_path / "m.npy").write_bytes(b"\x93NUMPY\x01\x00")
    with pytest.raises(UnreadableFileError, match="its array does not load"):
        read_mask(tmp_path / "m.npy")


def test_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_mask(tmp_path / "m.png")
