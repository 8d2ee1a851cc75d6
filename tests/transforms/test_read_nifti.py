import gzip

import nibabel
import numpy as np
import pytest

from mtmedformer_monai.transforms import errors
from mtmedformer_monai.transforms.read_nifti import read_nifti, read_nifti_values

PICTURE = np.arange(6, dtype=np.int16).reshape(2, 3)  # rows x columns of the upright image


def save(path, array, affine):
    nibabel.Nifti1Image(array, affine).to_filename(path)
    return path


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("trailing", [(), (1,), (1, 1)])
@pytest.mark.parametrize("affine", [np.eye(4), np.diag([-0.5, -0.5, 1, 1])], ids=["MONAI", "ITK"])
def test_pictures_saved_in_the_axial_plane_are_only_transposed(tmp_path, name, trailing, affine):
    path = save(tmp_path / name, PICTURE.T.reshape(3, 2, *trailing), affine)
    values, spacing = read_nifti_values(path)
    np.testing.assert_array_equal(values, PICTURE)
    assert spacing.tolist() == [abs(affine[0, 0])] * 2


def plane(x, y):
    """Makes an affine whose first axis is along x and whose second axis is along y, both in (R, A, S)."""
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = x, y, np.cross(x, y)
    return affine


@pytest.mark.parametrize(
    ("x", "y", "stored"),
    [
        pytest.param((-1, 0, 0), (0, 0, -2), PICTURE.T, id="to the left, downwards"),
        pytest.param((-1, 0, 0), (0, 0, 2), PICTURE[::-1].T, id="to the left, upwards"),
        pytest.param((1, 0, 0), (0, 0, 2), PICTURE[::-1, ::-1].T, id="to the right, upwards"),
        pytest.param((0, 0, -2), (-1, 0, 0), PICTURE, id="downwards, to the left"),
        pytest.param((0, -1, 0), (0, 0, -2), PICTURE.T, id="lateral, backwards"),
        pytest.param((0, 1, 0), (0, 0, -2), PICTURE[:, ::-1].T, id="lateral, forwards"),
    ],
)
def test_planes_along_the_body_are_reoriented_by_the_affine(tmp_path, x, y, stored):
    values, spacing = read_nifti_values(save(tmp_path / "a.nii", stored, plane(x, y)))
    np.testing.assert_array_equal(values, PICTURE)
    np.testing.assert_allclose(spacing, [2, 1])


def test_scaled_by_smallest_and_largest(tmp_path):
    array = np.array([[-5.0, 0.0], [np.nan, 15.0]], dtype=np.float32)
    image, meta = read_nifti(save(tmp_path / "a.nii", array.T, np.eye(4)))
    np.testing.assert_allclose(image, [[0, 0.25], [0, 1]])
    assert image.dtype == np.float32
    assert meta["source_shape"].tolist() == [2, 2]


def test_eight_bits_as_a_png(tmp_path):
    image, _ = read_nifti(save(tmp_path / "a.nii", np.array([[0, 51], [102, 204]], dtype=np.uint8).T, np.eye(4)))
    np.testing.assert_allclose(image, [[0, 0.2], [0.4, 0.8]], atol=1e-6)


@pytest.mark.parametrize("shape", [(4, 4, 2), (4,), (4, 4, 1, 3)])
def test_volumes_are_refused(tmp_path, shape):
    with pytest.raises(errors.UnsupportedImageError, match=r"its shape is .*but \(X, Y\) or"):
        read_nifti(save(tmp_path / "a.nii", np.zeros(shape, dtype=np.int16), np.eye(4)))


def test_truncated(tmp_path):
    noise = np.random.default_rng(0).integers(0, 1000, (64, 64)).astype(np.int16)
    path = save(tmp_path / "a.nii.gz", noise, np.eye(4))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(errors.BrokenPixelDataError, match="its data cannot be decoded"):
        read_nifti(path)


def test_implausible_size(tmp_path):
    header = nibabel.Nifti1Header()
    header.set_data_shape((30000, 30000))
    path = tmp_path / "a.nii"
    path.write_bytes(header.binaryblock + b"\0" * 4)
    with pytest.raises(errors.RadiographError, match=r"30000"):
        read_nifti(path)


def test_not_nifti(tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(b"hello"))
    with pytest.raises(errors.UnreadableFileError, match="header does not parse"):
        read_nifti(tmp_path / "a.nii.gz")


@pytest.mark.parametrize(("unit", "factor"), [("micron", 0.001), ("mm", 1.0), ("meter", 1000.0), ("unknown", 1.0)])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("affine", [np.diag([100.0, 200, 1, 1]), plane((-100, 0, 0), (0, 0, -200))])
def test_lengths_are_in_the_headers_unit(tmp_path, unit, factor, kind, affine):
    image = kind(PICTURE.T, affine)
    image.header.set_xyzt_units(unit, "sec")
    image.to_filename(tmp_path / "a.nii")
    values, spacing = read_nifti_values(tmp_path / "a.nii")
    np.testing.assert_array_equal(values, PICTURE)
    np.testing.assert_allclose(spacing, [200 * factor, 100 * factor])


def rewrite(path, **fields):
    """Writes fields to a header verbatim."""
    data = path.read_bytes()
    header = nibabel.Nifti1Header(data[:348])
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(header.binaryblock + data[348:])
    return path


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_background(tmp_path, value):
    array = np.array([[10.0, value], [20.0, 30.0]], dtype=np.float32)
    np.testing.assert_allclose(read_nifti(save(tmp_path / "a.nii", array.T, np.eye(4)))[0], [[0, 0], [0.5, 1]])
    with pytest.raises(errors.BrokenPixelDataError, match="all of its values are NaN or infinite"):
        read_nifti(save(tmp_path / "a.nii", np.full((2, 2), value), np.eye(4)))


@pytest.mark.parametrize("slope", [0.0, np.nan])
def test_missing_slope_means_no_scaling(tmp_path, slope):
    path = rewrite(save(tmp_path / "a.nii", PICTURE.T, np.eye(4)), scl_slope=slope, scl_inter=np.nan)
    np.testing.assert_array_equal(read_nifti_values(path)[0], PICTURE)


@pytest.mark.parametrize(("slope", "intercept"), [(np.inf, 0), (-np.inf, 0), (2, np.nan), (2, np.inf)])
def test_scaling_that_is_not_finite_is_named(tmp_path, slope, intercept):
    path = rewrite(save(tmp_path / "a.nii", PICTURE.T, np.eye(4)), scl_slope=slope, scl_inter=intercept)
    with pytest.raises(errors.BrokenPixelDataError, match=r"its scl_slope is .* scl_inter .*, but finite numbers"):
        read_nifti(path)


def test_affine_that_is_not_finite_is_named(tmp_path):
    path = save(tmp_path / "a.nii", PICTURE.T, plane((-1, 0, 0), (0, 0, -2)))
    with pytest.raises(errors.BrokenPixelDataError, match=r"its affine .* holds NaN"):
        read_nifti(rewrite(path, srow_z=[0, np.nan, 0, 0]))


def test_spacing_that_is_not_finite_is_unknown(tmp_path):
    path = save(tmp_path / "a.nii", PICTURE.T, np.eye(4))
    rewrite(path, sform_code=0, qform_code=0, pixdim=[1, np.nan, 1, 1, 0, 0, 0, 0])
    values, spacing = read_nifti_values(path)
    np.testing.assert_array_equal(values, PICTURE)
    assert np.isnan(spacing[1])


def test_pair_without_its_pixel_file(tmp_path):
    nibabel.Nifti1Pair(PICTURE.T, np.eye(4)).to_filename(tmp_path / "a.hdr")
    np.testing.assert_array_equal(read_nifti_values(tmp_path / "a.hdr")[0], PICTURE)
    (tmp_path / "a.img").unlink()
    with pytest.raises(errors.BrokenPixelDataError, match=r"its pixel file a\.img is not in the same folder"):
        read_nifti_values(tmp_path / "a.hdr")
