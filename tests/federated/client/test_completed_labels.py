import numpy as np
import pytest
import torch
from monai.data import DataLoader
from monai.transforms import Compose
from PIL import Image

from mtmedformer_monai.data import RadiographDataset
from mtmedformer_monai.federated.client.completed_labels import COMPLETED, CompletedLabels
from mtmedformer_monai.tasks import ClassificationTask, DetectionTask, SegmentationTask
from mtmedformer_monai.transforms import LoadRadiographd, LoadTargetsd, RandGeometryd

NAN = float("nan")
TASKS = [
    SegmentationTask("lung", ["left", "right"]),
    DetectionTask("box", ["opacity"], max_boxes=2),
    ClassificationTask("finding", ["no", "yes"], "binary"),
]


def missing(size=(2, 2)):
    return {
        "lung": torch.full((2, *size), NAN),
        "box": torch.full((2, 5), NAN),
        "finding": torch.tensor(NAN),
        "image": torch.zeros(1, *size),
    }


def equal(one, other):
    torch.testing.assert_close(one, torch.as_tensor(other, dtype=one.dtype), equal_nan=True)


def test_labels_come_back_for_their_image_alone():
    labels = CompletedLabels(TASKS)
    masks = torch.tensor([[[[0.0, 1.0], [NAN, 0.5]], [[1.0, 1.0], [1.0, 1.0]]]])
    boxes = torch.tensor([[[0.0, 0, 1, 2, 0], [-1.0] * 5]])
    labels.add([7], {"lung": (masks, torch.tensor([[True, False]])), "box": (boxes, torch.tensor([True]))})
    labels.add([2], {"finding": (torch.tensor([1.0]), torch.tensor([True]))})
    labels.drop_never_found()

    item = labels(7, missing())
    equal(item["lung"][1], torch.full((2, 2), NAN))
    torch.testing.assert_close(item["lung"][0], masks[0, 0], equal_nan=True, atol=0.002, rtol=0)  # 8 bits
    equal(item["box"], boxes[0])
    equal(item["finding"], NAN)
    assert item[f"lung{COMPLETED}"].tolist() == [True, False]
    assert [bool(item[f"{name}{COMPLETED}"]) for name in ("box", "finding")] == [True, False]
    assert labels(2, missing())["finding"].item() == 1.0
    assert not any(bool(labels(0, missing())[f"{task.name}{COMPLETED}"].any()) for task in TASKS)
    assert labels.mark("box", 8).nonzero()[:, 0].tolist() == [7]
    assert (labels.count("lung"), labels.count("finding")) == (1, 1)


def test_what_was_found_in_no_image_is_dropped():
    """The right lung and the box were found nowhere; the left lung in one of two images."""
    labels = CompletedLabels(TASKS)
    masks = torch.zeros(2, 2, 2, 2)
    masks[0, 0, 0, 0] = 1.0
    labels.add(
        [0, 1], {"lung": (masks, torch.ones(2, 2).bool()), "box": (torch.full((2, 2, 5), -1.0), torch.ones(2).bool())}
    )
    labels.drop_never_found()
    for index in (0, 1):
        item = labels(index, missing())
        assert item[f"lung{COMPLETED}"].tolist() == [True, False]
        assert not item[f"box{COMPLETED}"]
        equal(item["lung"][1], torch.full((2, 2), NAN))
    assert labels.count("box") == 0


def test_hard_masks_take_little_memory():
    labels = CompletedLabels(TASKS[:1])
    masks = torch.zeros(10, 2, 256, 256)
    masks[:, :, 50:200, 30:100] = 1.0
    labels.add(range(10), {"lung": (masks, torch.ones(10, 2).bool())})
    assert 0 < labels.num_bytes() < masks.numel() / 50
    equal(labels(3, missing((256, 256)))["lung"], masks[3])


@pytest.fixture
def square(tmp_path):
    """A dataset of one image with a bright square, whose label is missing, under a random motion."""
    pixels = np.zeros((64, 64), dtype=np.uint8)
    pixels[20:44, 12:40] = 255
    Image.fromarray(pixels).save(tmp_path / "square.png")
    task = SegmentationTask("square", ["square"])
    motion = RandGeometryd(["image", "square"], prob=1.0, max_rotation_degrees=40, max_translation=0.1)
    transform = Compose([LoadRadiographd("image"), LoadTargetsd([task]), motion])
    dataset = RadiographDataset([{"image": str(tmp_path / "square.png")}], transform)
    return dataset, task, motion


def test_completed_masks_move_with_their_image(square):
    dataset, task, motion = square
    plain = dataset.prepared(0)["image"].as_tensor()
    truth = (plain > 0.5).float()
    labels = CompletedLabels([task])
    labels.add([0], {"square": (truth[None], torch.ones(1, 1).bool())})
    assert bool(dataset[0]["square"].isnan().all())
    dataset.on_prepared = labels
    motion.set_random_state(seed=3)
    for item in (dataset[0], next(iter(DataLoader(dataset, batch_size=1, num_workers=1)))):
        image, mask = item["image"].reshape(64, 64), item["square"].reshape(64, 64)
        seen = torch.as_tensor(image > 0.5).float()
        assert 2 * (seen * mask).sum() / (seen + mask).sum() > 0.97  # the edges are interpolated differently
        assert (mask != truth[0]).sum() > 100
    dataset.on_prepared = None
    assert bool(dataset[0]["square"].isnan().all())
