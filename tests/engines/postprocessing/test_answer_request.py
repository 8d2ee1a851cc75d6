import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

from mtmedformer_monai.engines import AnswerRequestd
from mtmedformer_monai.transforms import LoadRadiographd
from mtmedformer_monai.transforms.read_nifti import read_nifti_values

AXIAL = np.diag([-0.4, -0.3, 1.0, 1.0])
CORONAL = np.array([[0.0, 0.4, 0.0, 5.0], [0.0, 0.0, 1.0, 0.0], [0.3, 0.0, 0.0, -7.0], [0.0, 0.0, 0.0, 1.0]])


def answer(path, labels, **request):
    item = LoadRadiographd("image")({"image": str(path)})
    pred = torch.from_numpy(np.ascontiguousarray(labels.T))
    return AnswerRequestd()({**item, "pred": pred, "image_path": str(path), **request})


@pytest.mark.parametrize(
    "affine", [AXIAL, CORONAL, np.eye(4), CORONAL[[2, 1, 0, 3]]], ids=["axial", "coronal", "identity", "other"]
)
@pytest.mark.parametrize("shape", [(5, 3), (5, 3, 1)])
def test_a_nifti_response_is_aligned_with_its_image(tmp_path, affine, shape):
    """An image that is its own label map is returned voxel by voxel."""
    voxels = np.arange(15, dtype=np.uint8).reshape(shape)
    nibabel.save(nibabel.Nifti1Image(voxels, affine), tmp_path / "a.nii.gz")
    upright = read_nifti_values(tmp_path / "a.nii.gz")[0]
    item = answer(tmp_path / "a.nii.gz", upright)
    given = item["pred"].numpy()
    np.testing.assert_array_equal(given.squeeze(), voxels.squeeze())
    if len(shape) == 3:
        assert given.shape == (1, 5, 3, 1)
        np.testing.assert_allclose(item["image"].meta["original_affine"], affine, atol=1e-6)


def test_responses_to_pictures_have_columns_first(tmp_path):
    labels = np.array([[0, 1, 2], [2, 1, 0]], dtype=np.uint8)
    Image.fromarray(labels).save(tmp_path / "a.png")
    item = answer(tmp_path / "a.png", labels)
    assert item["pred"].shape == (3, 2)
    assert not item.get("result_extension")


@pytest.mark.parametrize(("asked", "expected"), [({}, ".png"), ({"result_extension": ".nrrd"}, ".nrrd")])
def test_the_response_to_jpeg_is_lossless(tmp_path, asked, expected):
    labels = np.zeros((2, 3), dtype=np.uint8)
    Image.fromarray(labels).save(tmp_path / "a.jpg")
    assert answer(tmp_path / "a.jpg", labels, **asked)["result_extension"] == expected


def test_items_outside_of_requests_are_unchanged():
    item = {"pred": torch.zeros(2, 3), "image": "a"}
    assert AnswerRequestd()(item) == item
