import logging

import numpy as np
import pytest
import torch

from mtmedformer_monai.transforms import OrientBreastd, Turn, plan_turn
from mtmedformer_monai.transforms.radiograph_meta import describe_meta

DISAGREE = "disagree on where the chest wall lies, and the pixels take precedence"


def tensor(picture):
    return torch.from_numpy(np.ascontiguousarray(picture))[None]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("laterality", ["", "L", "R"])
def test_the_image_alone_is_sufficient(make_breast, side, laterality):
    plan = plan_turn(tensor(make_breast(side=side)[0]), "", laterality)
    assert plan.turn == Turn(flip_x=side == "right")
    assert plan.is_known
    expected = {"": side, "L": "left", "R": "right"}[laterality]
    assert (DISAGREE in plan.problem) == (side != expected)


@pytest.mark.parametrize(("laterality", "flip"), [("L", False), ("R", True)])
def test_laterality_is_used_if_the_image_is_inconclusive(laterality, flip):
    plan = plan_turn(torch.zeros(1, 50, 40), "", laterality)
    assert plan.turn == Turn(flip_x=flip)
    assert not plan.problem


def test_unknown_orientation():
    plan = plan_turn(torch.zeros(1, 50, 40))
    assert plan.turn == Turn()
    assert not plan.is_known
    assert "cannot be determined" in plan.problem


@pytest.mark.parametrize(
    ("stored", "orientation", "laterality"),
    [
        (Turn(), "A\\FR", "L"),
        (Turn(flip_x=True), "P\\FL", "R"),
        (Turn(flip_x=True, flip_y=True), "P\\HL", "L"),
        (Turn(flip_y=True), "A\\HR", "R"),
        (Turn(transpose=True), "F\\A", "L"),
        (Turn(transpose=True, flip_y=True), "F\\P", "L"),
    ],
    ids=["left", "right", "left turned by 180", "right turned by 180", "transposed", "turned by 90"],
)
def test_patient_orientation_determines_the_turn(make_breast, make_mammogram, caplog, stored, orientation, laterality):
    picture, _ = make_breast(140, 100)
    picture[:30] *= 0.5  # marks the top
    item = make_mammogram(stored.apply(tensor(picture))[0].numpy(), laterality, orientation)
    with caplog.at_level(logging.WARNING):
        out = OrientBreastd("image")(item)["image"]
    np.testing.assert_array_equal(out.as_tensor()[0], picture)
    assert out.meta["laterality"] == laterality
    assert out.meta["patient_orientation"] == orientation
    assert not caplog.messages


def test_pixels_take_precedence_over_orientation_with_one_warning(make_breast, make_mammogram, caplog):
    picture, _ = make_breast(140, 100, "left")
    orient, item = OrientBreastd("image"), make_mammogram(picture, "R", "P\\FL", name="/jane_doe/x.dcm")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            out = orient(item)["image"]
    np.testing.assert_array_equal(out.as_tensor()[0], picture)
    assert caplog.messages == [f"x.dcm: its Patient Orientation and its pixels {DISAGREE}."]
    assert describe_meta(out.meta)["flags"] == [f"its Patient Orientation and its pixels {DISAGREE}"]


def test_chest_wall_on_the_right(make_breast, make_mammogram):
    picture, _ = make_breast(140, 100, "left")
    out = OrientBreastd("image", chest_wall="right")(make_mammogram(picture, "L"))["image"]
    np.testing.assert_array_equal(out.as_tensor()[0], picture[:, ::-1])


def test_targets_follow(make_breast, make_mammogram):
    picture, breast = make_breast(140, 100, "right")
    boxes = torch.tensor([[60.0, 40, 90, 80, 0], [-1, -1, -1, -1, -1]])
    item = {**make_mammogram(picture), "map": tensor(breast.astype(np.float32)), "boxes": boxes}
    out = OrientBreastd(("image", "map", "boxes"))(item)
    np.testing.assert_array_equal(out["map"][0], breast[:, ::-1])
    assert out["boxes"][0].tolist() == [10, 40, 40, 80, 0]
    np.testing.assert_array_equal(out["image"].meta["to_source"], [[-1, 0, 100], [0, 1, 0], [0, 0, 1]])


@pytest.mark.parametrize(("side", "laterality"), [("left", "L"), ("right", "R")])
def test_a_side_is_guessed_only_if_asked_for(make_breast, make_mammogram, side, laterality):
    picture, _ = make_breast(side=side)
    guess = OrientBreastd("image", fill_laterality=True)
    assert guess(make_mammogram(picture))["image"].meta["laterality"] == laterality
    assert OrientBreastd("image")(make_mammogram(picture))["image"].meta["laterality"] == ""


def test_laterality_of_an_image_stored_upside_down(make_breast, make_mammogram):
    """A right breast whose chest wall is on the left because the image is rotated by 180 degrees."""
    picture, _ = make_breast(side="left")
    out = OrientBreastd("image", fill_laterality=True)(make_mammogram(picture, "", "A\\HR"))["image"]
    assert out.meta["laterality"] == "R"


def test_datalist_fills_in_missing_header_values(make_mammogram):
    out = OrientBreastd("image")({**make_mammogram(np.zeros((40, 30))), "laterality": "right"})["image"]
    assert out.meta["laterality"] == "R"
    np.testing.assert_array_equal(out.meta["to_source"], [[-1, 0, 30], [0, 1, 0], [0, 0, 1]])


def test_the_input_is_not_modified(make_breast, make_mammogram):
    item = make_mammogram(make_breast(side="right")[0])
    before = item["image"].as_tensor().clone()
    OrientBreastd("image")(item)
    np.testing.assert_array_equal(item["image"].as_tensor(), before)
    assert item["image"].meta["laterality"] == ""


def test_unknown_side():
    with pytest.raises(ValueError, match="chest_wall expects 'left' or 'right', got 'up'"):
        OrientBreastd("image", chest_wall="up")
