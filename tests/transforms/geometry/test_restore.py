import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.transforms import Compose, Flipd, Resized, Rotate90d

from mtmedformer_monai.transforms import (
    Letterboxd,
    RandGeometryd,
    RestoreToSourced,
    Turn,
    crop_item,
    restore_boxes,
    restore_masks,
    turn_item,
)
from mtmedformer_monai.transforms.augmentation.random_geometry import Motion
from mtmedformer_monai.transforms.geometry.affine import invert, map_boxes
from mtmedformer_monai.transforms.geometry.canvas import with_values
from mtmedformer_monai.transforms.geometry.letterbox import letterbox_map


@given(st.integers(1, 4000), st.integers(1, 4000), st.integers(8, 600), st.integers(0, 10**6))
def test_boxes_return_to_the_source(height, width, side, seed):
    random = np.random.default_rng(seed)
    corners = np.sort(random.random((5, 2, 2)) * [width, height], axis=1)
    boxes = torch.from_numpy(corners.reshape(5, 4))
    to_source = letterbox_map((height, width), (side, side))
    back = restore_boxes(map_boxes(boxes, invert(to_source)), to_source)
    torch.testing.assert_close(back, boxes, atol=1e-6, rtol=0)


@settings(max_examples=30)
@given(st.integers(2, 60), st.integers(2, 60), st.integers(1, 5), st.integers(0, 99))
def test_masks_enlarged_by_the_network_return_exactly(make_item, height, width, factor, seed):
    item = make_item(height, width, seed, spacing=(0.1, 0.1))
    size = (height * factor + 3, width * factor + 3)  # a fractional scale factor, and padding
    fitted = Letterboxd(("image", "map"), size)(item)
    to_source = fitted["image"].meta["to_source"]
    back = restore_masks(fitted["map"][:1], to_source, (height, width), mode="nearest")
    np.testing.assert_array_equal(back, item["map"][:1])


@pytest.mark.parametrize("shape", [(64, 48), (30, 50), (16, 16)])
def test_smooth_maps_return_closely(shape):
    y, x = torch.meshgrid(torch.linspace(0, 1, shape[0]), torch.linspace(0, 1, shape[1]), indexing="ij")
    smooth = torch.stack([x, y])
    to_source = letterbox_map(shape, (40, 40))
    from mtmedformer_monai.transforms.geometry.affine import resize_area
    from mtmedformer_monai.transforms.geometry.letterbox import letterbox_values

    back = restore_masks(letterbox_values(smooth, (40, 40), resize_area), to_source, shape)
    assert back.shape == (2, *shape)
    # at the edges of a ramp, half a pixel of the coarser grid is lost
    torch.testing.assert_close(back, smooth, atol=1.0 / min(shape), rtol=0)


def test_padding_does_not_bleed_into_the_edge():
    to_source = letterbox_map((4, 2), (8, 8))
    full = torch.zeros(1, 8, 8)
    full[:, :, 2:6] = 1.0
    assert restore_masks(full, to_source, (4, 2)).eq(1).all()


def test_after_a_random_motion(make_item):
    item = make_item(40, 30)
    moved = RandGeometryd(("image", "boxes"), prob=1.0).set_random_state(3)(item)
    to_source = moved["image"].meta["to_source"]
    rough = restore_masks(moved["image"].as_tensor(), to_source, (40, 30))
    inner = np.s_[0, 12:28, 10:20]
    smooth = torch.nn.functional.avg_pool2d(item["image"].as_tensor(), 3, 1, 1)
    # noise that is interpolated twice is close to its local mean; its own standard deviation is 0.29
    assert (rough[inner] - smooth[inner]).abs().mean() < 0.15


def test_mirror_returns_exactly():
    masks = torch.rand(1, 6, 8)
    matrix = Motion(flip=True).matrix((6, 8))
    torch.testing.assert_close(restore_masks(masks, matrix, (6, 8)), masks.flip(-1), atol=1e-5, rtol=0)


def test_transform_uses_the_rank(make_item):
    image = Letterboxd("image", (40, 40))(make_item(20, 10))["image"]
    rows = torch.tensor([[10.0, 0, 30, 40, 12, 14, 4, 0.9]])
    pred = {"lung": torch.rand(2, 40, 40), "boxes": rows, "finding": torch.tensor([0.2, 0.8])}
    out = RestoreToSourced("pred")({"image": image, "pred": pred})["pred"]
    assert out["lung"].shape == (2, 20, 10)
    torch.testing.assert_close(out["boxes"], torch.tensor([[0.0, 0, 10, 20, 12, 14, 4, 0.9]]))
    assert out["finding"] is pred["finding"]
    assert pred["boxes"] is rows


def test_a_tensor_alone(make_item):
    image = Letterboxd("image", (40, 40))(make_item(20, 10))["image"]
    out = RestoreToSourced("pred")({"image": image, "pred": torch.ones(1, 40, 40, dtype=torch.bool)})["pred"]
    assert out.shape == (1, 20, 10)
    assert out.eq(1).all()


@pytest.mark.parametrize("turn", [Turn(flip_x=True), Turn(flip_y=True), Turn(True), Turn(True, True, True)])
def test_turned_and_letterboxed_masks_return_exactly(make_item, turn):
    item = make_item(20, 10)
    fitted = Letterboxd(("image", "map"), (70, 64))(turn_item(item, turn, ("image", "map")))
    to_source = fitted["image"].meta["to_source"]
    nearest = restore_masks(fitted["map"][:1], to_source, (20, 10), mode="nearest")
    np.testing.assert_array_equal(nearest, item["map"][:1])


@pytest.mark.parametrize("turn", [Turn(), Turn(flip_x=True), Turn(True)])
def test_padding_does_not_bleed_into_the_edge_of_a_turned_or_cropped_image(make_item, turn):
    """The prediction is 1 everywhere in the image and 0 in the padding."""
    item = crop_item(turn_item(make_item(20, 10, spacing=(0.1, 0.1)), turn, ("image",)), (0, 0, 7, 9), ("image",))
    fitted = Letterboxd("image", 64)(item)["image"]
    content = restore_masks(torch.ones(1, 9, 7), item["image"].meta["to_source"], (20, 10), mode="nearest")
    probs = torch.zeros(1, 64, 64)
    probs[:, :, 7:57] = 1.0
    back = restore_masks(probs, fitted.meta["to_source"], (20, 10))
    assert back[content > 0].min() > 1.0 - 1e-6  # interpolated between ones


def test_boxes_are_clipped_to_the_source_and_dropped_outside(make_item):
    """The source of 20 x 10 pixels is shown at half its size, so source points are network points times 2."""
    source = make_item(20, 10)["image"]
    image = with_values(source, source.as_tensor()[:, ::2, ::2], np.diag([2.0, 2.0, 1.0]))
    rows = torch.tensor([
        [-78.0, 1.0, 2.0, 99.0, 7.0],  # extends beyond the left and bottom edges
        [1.0, 1.0, 2.0, 2.0, 8.0],
        [5.0, 1.0, 9.0, 2.0, 9.0],  # beyond the right edge at x = 10
        [-3.0, -3.0, 0.004, 4.0, 9.0],  # 0.008 pixels remain, which is 0 when written in hundredths
    ])  # fmt: skip
    out = RestoreToSourced("pred")({"image": image, "pred": {"boxes": rows}})["pred"]["boxes"]
    torch.testing.assert_close(out, torch.tensor([[0.0, 2, 4, 20, 7], [2.0, 2, 4, 4, 8]]))


def test_all_boxes_dropped(make_item):
    image = make_item(20, 10)["image"]
    out = RestoreToSourced("pred")({"image": image, "pred": {"boxes": torch.tensor([[-5.0, -5, -1, -1, 0]])}})
    assert out["pred"]["boxes"].shape == (0, 5)


@pytest.mark.parametrize(
    "steps",
    [
        [Flipd("image", 1), Letterboxd("image", 40), RestoreToSourced()],
        [Letterboxd("image", 40), Rotate90d("image"), RestoreToSourced()],
        [Letterboxd("image", 40), Resized("image", (40, 39)), RestoreToSourced()],
    ],
    ids=["before", "after", "nearly the same size"],
)
def test_pixels_moved_by_a_transform_of_monai_are_refused(make_item, steps):
    """Such transforms update the affine but not `to_source`, with which predictions would return to a wrong place."""
    item = {**make_item(20, 10), "pred": torch.zeros(1, 40, 40)}
    with pytest.raises(RuntimeError) as raised:
        Compose(steps)(item)
    assert "use Letterboxd instead of Resized" in str(raised.value.__cause__)


def test_transforms_of_monai_that_cancel_each_other_are_admitted(make_item):
    item = {**make_item(20, 10), "pred": torch.ones(1, 20, 10)}
    assert Compose([Flipd("image", 1), Flipd("image", 1), RestoreToSourced()])(item)["pred"].eq(1).all()
