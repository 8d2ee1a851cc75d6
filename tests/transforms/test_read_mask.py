import re

import nibabel
import numpy as np
import pytest
from PIL import Image

from mtmedformer_monai.transforms import read_label_map
from mtmedformer_monai.transforms.errors import AnnotationError, RadiographError, UnreadableFileError
from mtmedformer_monai.transforms.read_mask import find_inside, read_mask

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


def save_palette(path, colors, **options):
    picture = Image.fromarray(MASK.astype(np.uint8), mode="P")
    picture.putpalette(colors)
    picture.save(path, **options)


@pytest.mark.parametrize(
    "save",
    [
        pytest.param(lambda path: Image.fromarray(MASK).save(path), id="1 bit"),
        pytest.param(lambda path: Image.fromarray(MASK * np.uint8(255)).save(path), id="0 and 255"),
        pytest.param(lambda path: Image.fromarray(MASK * np.uint16(2)).save(path), id="16 bits"),
        pytest.param(lambda path: Image.fromarray(MASK * np.uint8(2) + 5).save(path, transparency=5), id="transparent"),
        pytest.param(lambda path: save_palette(path, [0, 0, 0, 200, 0, 0]), id="palette"),
        pytest.param(
            lambda path: save_palette(path, [255, 255, 255, 200, 0, 0], transparency=0), id="palette, clear 0"
        ),
    ],
)
def test_masks_and_label_maps_are_read_by_the_same_rule(tmp_path, save):
    save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), MASK)
    np.testing.assert_array_equal(read_label_map(tmp_path / "m.png") > 0, MASK)
    np.testing.assert_array_equal(read_label_map(tmp_path / "m.png")[~MASK], 0)


@pytest.mark.parametrize("colors", [[0, 200, 0, 0, 0, 0], [255, 255, 255, 200, 0, 0], [0] * 6])
@pytest.mark.parametrize("read", [read_mask, read_label_map])
def test_a_palette_that_contradicts_its_indices_is_refused(tmp_path, colors, read):
    """By its indices, the picture would have another foreground than by its colors."""
    save_palette(tmp_path / "m.png", colors)
    with pytest.raises(AnnotationError, match=r"m.png: its palette shows index 0 in a color.*; save the numbers"):
        read(tmp_path / "m.png")


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


def test_damaged_png(tmp_path):
    (tmp_path / "m.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(UnreadableFileError, match="picture header does not parse"):
        read_mask(tmp_path / "m.png")


def test_truncated_png(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)).save(tmp_path / "m.png")
    (tmp_path / "m.png").write_bytes((tmp_path / "m.png").read_bytes()[:-1000])
    with pytest.raises(UnreadableFileError, match="cannot be decoded"):
        read_mask(tmp_path / "m.png")


@pytest.mark.parametrize("shape", [(10**5, 10**5), (3, 4, 5)])
def test_npy_of_an_implausible_shape(tmp_path, shape):
    with (tmp_path / "m.npy").open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": "|b1", "fortran_order": False, "shape": shape})
    with pytest.raises(RadiographError, match=r"m.npy: "):
        read_mask(tmp_path / "m.npy")


def test_damaged_npy(tmp_path):
    (tmp_path / "m.npy").write_bytes(b"\x93NUMPY\x01\x00")
    with pytest.raises(UnreadableFileError, match="its array does not load"):
        read_mask(tmp_path / "m.npy")


def test_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_mask(tmp_path / "m.png")


NOT_FINITE = [np.nan, np.inf, -np.inf]


@pytest.mark.parametrize("outside", NOT_FINITE)
@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", ["m.npy", "m.nii", "m.nii.gz"])
def test_nan_and_infinity_are_outside(tmp_path, outside, kind, name):
    if kind == np.float16 and name != "m.npy":
        pytest.skip("NIfTI has no float16")
    array = np.where(MASK, 0.5, outside).astype(kind)
    array[0, 1] = 0.0
    if name == "m.npy":
        np.save(tmp_path / name, array)
    else:
        nibabel.Nifti1Image(array.T, np.eye(4)).to_filename(tmp_path / name)
    np.testing.assert_array_equal(read_mask(tmp_path / name), MASK)


@pytest.mark.parametrize("value", NOT_FINITE)
def test_mask_of_only_nan_is_refused(tmp_path, value):
    np.save(tmp_path / "m.npy", np.full((4, 5), value))
    nibabel.Nifti1Image(np.full((4, 5), value), np.eye(4)).to_filename(tmp_path / "m.nii")
    for name in ("m.npy", "m.nii"):
        with pytest.raises(UnreadableFileError, match=f"{name}: its mask holds nothing but NaN or infinity"):
            read_mask(tmp_path / name)


@pytest.mark.parametrize("shape", [(1, 3, 2), (3, 2, 1), (1, 3, 2, 1), (3, 1, 2)])
def test_axes_of_length_one_are_dropped(tmp_path, shape):
    np.save(tmp_path / "m.npy", np.ones(shape))
    assert read_mask(tmp_path / "m.npy").shape == (3, 2)


def test_single_row_is_kept(tmp_path):
    np.save(tmp_path / "m.npy", np.ones((1, 5)))
    assert read_mask(tmp_path / "m.npy").shape == (1, 5)


@pytest.mark.parametrize("shape", [(8, 8, 3), (2, 8, 8), (8,), ()])
def test_error_gives_the_shape(tmp_path, shape):
    np.save(tmp_path / "m.npy", np.zeros(shape))
    with pytest.raises(UnreadableFileError, match=rf"its array has the shape {re.escape(str(shape))}, but one"):
        read_mask(tmp_path / "m.npy")


def test_non_numeric_array(tmp_path):
    np.save(tmp_path / "m.npy", np.array([["a", "b"]]))
    with pytest.raises(UnreadableFileError, match="its array holds <U1, but numbers are expected"):
        read_mask(tmp_path / "m.npy")
    with pytest.raises(TypeError, match="a mask expects numbers"):
        find_inside(np.array(["a"]))


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "1"])
def test_transparent_color_is_outside(tmp_path, mode):
    picture = Image.fromarray(np.where(MASK, 255, 0).astype(np.uint8)).convert(mode)
    transparent = {"RGB": (255, 255, 255), "P": 255}.get(mode, 255)
    picture.save(tmp_path / "m.png", transparency=transparent)
    assert not read_mask(tmp_path / "m.png").any()


def test_upper_case_names(tmp_path):
    nibabel.Nifti1Image(MASK.T.astype(np.uint8), np.eye(4)).to_filename(tmp_path / "m.nii")
    (tmp_path / "m.nii").rename(tmp_path / "M.NII")
    np.testing.assert_array_equal(read_mask(tmp_path / "M.NII"), MASK)
