import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from mtmedformer_monai.engines import LabelMapd
from mtmedformer_monai.tasks import ClassificationTask, DetectionTask, SegmentationTask
from mtmedformer_monai.transforms import LoadRadiographd, LoadTargetsd, SplitLabelMapd
from mtmedformer_monai.transforms.errors import AnnotationError

TASKS = [
    SegmentationTask("lung", ["left", "right"]),
    DetectionTask("box", ["opacity"], max_boxes=2),
    SegmentationTask("opacity", ["opacity"]),
    ClassificationTask("finding", ["normal", "pneumonia"], "binary"),
]
NAN = np.nan


def split(numbers, tasks=TASKS):
    return SplitLabelMapd(tasks)({"label": np.array(numbers)})["masks"]


def test_numbers_follow_the_structures_of_the_tasks():
    masks = split([[0, 1, 2, 3]])
    np.testing.assert_array_equal(masks["left"], [[0, 1, 0, NAN]])  # 0 next to `right`; unknown under the opacity
    np.testing.assert_array_equal(masks["right"], [[0, 0, 1, NAN]])
    np.testing.assert_array_equal(masks["opacity"], [[0, 0, 0, 1]])


def test_an_empty_map_means_that_structures_are_absent():
    assert all((mask == 0).all() for mask in split([[0, 0], [0, 0]]).values())


def test_label_maps_of_the_bundle_are_read_correctly():
    """For all combinations of three overlapping structures: 1 where visible, 0 only where really absent."""
    present = np.array(list(itertools.product([0.0, 1.0], repeat=3)), dtype=np.float32).T[:, None]  # (3, 1, 8)
    probs = {"lung": torch.from_numpy(present[:2]), "opacity": torch.from_numpy(present[2:])}
    masks = split(LabelMapd(TASKS)({"pred": probs})["pred"].numpy().T)
    for name, truth in zip(("left", "right", "opacity"), present, strict=True):
        known = ~np.isnan(masks[name])
        beside_right = (present[1] == 1) & (name == "left")  # within a task, the later structure takes precedence
        np.testing.assert_array_equal(masks[name][known & ~beside_right], truth[known & ~beside_right])


def test_only_masks_are_annotated(make_dicom, tmp_path):
    Image.fromarray(np.full((6, 4), 3, dtype=np.uint8)).save(tmp_path / "a.png")
    item = LoadRadiographd("image")({"image": make_dicom(rows=6, columns=4), "label": str(tmp_path / "a.png")})
    item = LoadTargetsd(TASKS)(SplitLabelMapd(TASKS)(item))
    assert item["lung"].isnan().all()  # completely hidden
    assert (item["opacity"] == 1).all()
    assert item["box"].isnan().all()
    assert item["finding"].isnan()
    assert "label" not in item


def test_label_map_of_another_size_is_named(make_dicom, tmp_path):
    Image.fromarray(np.zeros((4, 6), dtype=np.uint8)).save(tmp_path / "a.png")
    item = LoadRadiographd("image")({"image": make_dicom(rows=6, columns=4), "label": str(tmp_path / "a.png")})
    with pytest.raises(AnnotationError, match=r"a.png: the label map has 4 x 6 pixels .* its image has 6 x 4; draw"):
        SplitLabelMapd(TASKS)(item)


def test_hidden_pixels_do_not_affect_the_loss():
    task = SegmentationTask("lung", ["lung"])
    masks = split([[0, 1, 2, 2]], [task, SegmentationTask("opacity", ["opacity"])])
    target = task.encode_target({"masks": masks}, (1, 4))[None]
    logits = torch.tensor([[[[-2.0, 2.0, 1.0, 1.0]]]])
    other = torch.tensor([[[[-2.0, 2.0, -9.0, 9.0]]]])
    assert torch.equal(task.loss(logits, target), task.loss(other, target))
    assert task.loss(-logits, target) > task.loss(logits, target)


def test_unknown_number_is_named_with_the_known_ones(tmp_path):
    Image.fromarray(np.array([[0, 4, 9]], dtype=np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(AnnotationError, match=r"a.png: .* holds \[4, 9\]; .* 1 left, 2 right, 3 opacity: number"):
        SplitLabelMapd(TASKS)({"label": tmp_path / "a.png"})


def test_masks_and_a_label_map_together_are_refused():
    with pytest.raises(AnnotationError, match="'masks' and a label map under 'label'; give one"):
        SplitLabelMapd(TASKS)({"label": np.zeros((1, 1)), "masks": {"left": "a.png"}})


@pytest.mark.parametrize("tasks", [TASKS, [SimpleNamespace(name="reconstruction")]], ids=["tasks", "no structures"])
def test_items_without_label_map_are_unchanged(tasks):
    item = {"image": "a.png", "masks": {"left": "m.png"}}
    assert SplitLabelMapd(tasks)(item) == item


def test_tasks_without_structures_need_no_label_map():
    assert SplitLabelMapd(TASKS[3:])({"label": "missing.png", "image": "a.png"}) == {"image": "a.png"}
