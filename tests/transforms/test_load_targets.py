import numpy as np
import pytest
import torch
from PIL import Image

from mtmedformer_monai.keys import FACTS
from mtmedformer_monai.transforms import Letterboxd, LoadRadiographd, LoadTargetsd


class LungTask:
    """Segments one structure; the target is NaN if it is not annotated."""

    name = "lung_map"

    def encode_target(self, item, image_size):
        mask = item["masks"].get("lung")
        return torch.full((1, *image_size), float("nan")) if mask is None else torch.from_numpy(mask)[None]


class FindingTask:
    name = "finding"

    def encode_target(self, item, image_size):
        return torch.tensor(float(item.get("labels", {}).get("finding", "nan")))


@pytest.fixture
def loaded(make_dicom):
    return LoadRadiographd("image")({"image": make_dicom(rows=6, columns=4)})


def test_targets_replace_annotations(loaded, tmp_path):
    mask = np.eye(6, 4, dtype=bool)
    Image.fromarray(mask).save(tmp_path / "m.png")
    annotated = {"masks": {"lung": str(tmp_path / "m.png")}, "labels": {"finding": 1}, "boxes": {}}
    item = {**loaded, **annotated, "site": "a", "remark": "of some items only, which no batch could hold"}
    out = LoadTargetsd([LungTask(), FindingTask()])(item)
    assert set(out) == {"image", "lung_map", "finding", *FACTS}
    assert (out["site"], out["patient_id"]) == ("a", "")
    assert out["lung_map"].dtype == torch.float32
    np.testing.assert_array_equal(out["lung_map"][0], mask)
    assert out["finding"] == 1
    assert "masks" in item


def test_nothing_annotated(loaded):
    out = LoadTargetsd([LungTask(), FindingTask()])(loaded)
    assert torch.isnan(out["lung_map"]).all()
    assert torch.isnan(out["finding"])


def test_no_tasks(loaded):
    assert set(LoadTargetsd([])(loaded)) == {"image", *FACTS}


def test_mask_given_as_an_array(loaded):
    out = LoadTargetsd([LungTask()])({**loaded, "masks": {"lung": np.full((6, 4), 255)}})
    assert out["lung_map"].unique().tolist() == [1]


def test_mask_of_another_size(loaded, tmp_path):
    Image.fromarray(np.zeros((3, 2), dtype=bool)).save(tmp_path / "m.png")
    with pytest.raises(ValueError, match=r"m.png: mask of 'lung' has 3 x 2 pixels .* its image has 6 x 4; draw it"):
        LoadTargetsd([LungTask()])({**loaded, "masks": {"lung": tmp_path / "m.png"}})


def test_order_of_transforms(loaded):
    with pytest.raises(ValueError, match="put it before Letterboxd"):
        LoadTargetsd([])(Letterboxd("image", 8)(loaded))
    with pytest.raises(ValueError, match="put LoadRadiographd first"):
        LoadTargetsd([])({"image": torch.zeros(1, 2, 2)})


@pytest.mark.parametrize(("outside", "expected"), [(np.nan, np.nan), (np.inf, 0.0), (-np.inf, 0.0), (0.0, 0.0)])
@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor])
def test_nan_of_an_array_is_not_annotated_and_infinity_is_outside(loaded, outside, expected, make):
    inside = np.eye(6, 4, dtype=bool)
    out = LoadTargetsd([LungTask()])({**loaded, "masks": {"lung": make(np.where(inside, 0.5, outside))}})
    np.testing.assert_array_equal(out["lung_map"][0], np.where(inside, 1.0, expected))


def test_error_gives_the_full_shape_of_a_mask(loaded):
    with pytest.raises(ValueError, match=r"mask of 'lung' has 6 x 4 x 3 pixels .*, its image has 6 x 4"):
        LoadTargetsd([LungTask()])({**loaded, "masks": {"lung": np.zeros((6, 4, 3))}})
