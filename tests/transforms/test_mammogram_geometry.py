"""End-to-end geometry of mammograms, from the file to the network input and back, on random files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from monai.transforms import Compose

from mtmedformer_monai.transforms import (
    CleanBackgroundd,
    CropBreastd,
    Letterboxd,
    LoadRadiographd,
    OrientBreastd,
    RandGeometryd,
    Turn,
    restore_boxes,
    restore_masks,
)
from mtmedformer_monai.transforms.geometry.affine import invert, map_boxes, map_points

KEYS = ("image", "map", "boxes")
PAD = 7  # value of the padding
UPRIGHT = {("L", "CC"): "A\\R", ("L", "MLO"): "A\\F", ("R", "CC"): "P\\L", ("R", "MLO"): "P\\F"}
UPSIDE_DOWN = {("L", "CC"): "P\\L", ("L", "MLO"): "P\\H", ("R", "CC"): "A\\R", ("R", "MLO"): "A\\H"}


@dataclass(frozen=True)
class Case:
    """The properties of a file."""

    height: int
    width: int
    border: int
    laterality: str
    view: str
    photometric: str
    upside_down: bool
    has_orientation: bool  # whether the header gives laterality and orientation


CASES = st.builds(
    Case,
    height=st.integers(110, 190),
    width=st.integers(90, 170),
    border=st.integers(0, 20),
    laterality=st.sampled_from("LR"),
    view=st.sampled_from(["CC", "MLO"]),
    photometric=st.sampled_from(["MONOCHROME1", "MONOCHROME2"]),
    upside_down=st.booleans(),
    has_orientation=st.booleans(),
)
FAST = settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def write(case, make_dicom, make_breast):
    """Writes the file of a case; returns its path, the breast mask, and targets: a mask (1, H, W) and a box."""
    side = "left" if case.laterality == "L" else "right"
    height, width = case.height + 2 * case.border, case.width + 2 * case.border
    picture, breast = make_breast(height, width, side, case.border)
    turn = Turn(flip_x=case.upside_down, flip_y=case.upside_down)
    picture, breast = (np.ascontiguousarray(values[:: -1 if turn.flip_y else 1, :: -1 if turn.flip_x else 1])
                       for values in (picture, breast))  # fmt: skip
    values = 100 + 3000 * (1.0 - picture if case.photometric == "MONOCHROME1" else picture)
    stored = np.where(picture > 0, values, PAD if case.border else values).astype(np.uint16)
    orientation = (UPSIDE_DOWN if case.upside_down else UPRIGHT)[case.laterality, case.view].split("\\")
    elements = {"ImageLaterality": case.laterality, "PatientOrientation": orientation} if case.has_orientation else {}
    path = make_dicom(
        pixels=stored,
        photometric=case.photometric,
        modality="MG",
        ViewPosition=case.view,
        PixelPaddingValue=PAD,
        **elements,
    )
    rows, columns = np.flatnonzero(breast.any(1)), np.flatnonzero(breast.any(0))
    y, x = int(rows[len(rows) // 3]), int(columns[len(columns) // 3])
    mask = torch.zeros(1, *picture.shape)
    mask[:, y : y + 9, x : x + 13] = 1.0
    return path, breast, mask, torch.tensor([[x, y, x + 13.0, y + 9.0, 0.0]])


def load(path, mask, boxes):
    return {**LoadRadiographd("image")({"image": path}), "map": mask, "boxes": boxes}


@FAST
@given(case=CASES, factor=st.integers(1, 3), seed=st.integers(0, 99))
def test_masks_and_boxes_are_restored_exactly(make_dicom, make_breast, case, factor, seed):
    """The network input is at least as large as the crop, because a smaller one always loses pixels."""
    path, breast, mask, boxes = write(case, make_dicom, make_breast)
    mask[breast[None]] = (torch.rand(int(breast.sum()), generator=torch.Generator().manual_seed(seed)) > 0.5).float()
    crop = Compose([OrientBreastd(KEYS), CleanBackgroundd("image"), CropBreastd(KEYS)])
    cropped = crop(load(path, mask, boxes))
    size = tuple(factor * int(length) + 5 * factor for length in cropped["image"].shape[-2:])
    item = Letterboxd(KEYS, size)(cropped)
    to_source = item["image"].meta["to_source"]
    np.testing.assert_array_equal(restore_masks(item["map"], to_source, tuple(mask.shape[1:]), "nearest"), mask)
    torch.testing.assert_close(restore_boxes(item["boxes"][:, :4], to_source), boxes[:, :4], atol=1e-3, rtol=0)


@FAST
@given(case=CASES)
def test_the_chest_wall_is_on_the_left_and_the_breast_complete(make_dicom, make_breast, case):
    path, breast, _, boxes = write(case, make_dicom, make_breast)
    item = load(path, torch.from_numpy(breast.astype(np.float32))[None], boxes)
    out = CropBreastd(KEYS)(CleanBackgroundd("image")(OrientBreastd(KEYS)(item)))
    assert out["map"].sum() == breast.sum()
    half = out["map"].shape[-1] // 2
    assert out["map"][..., :half].sum() > out["map"][..., half:].sum()
    kept = out["image"].as_tensor()[out["map"] > 0]
    np.testing.assert_array_equal(np.sort(kept), np.sort(item["image"].as_tensor()[0].numpy()[breast]))
    assert out["image"].meta["laterality"] == (case.laterality if case.has_orientation else "")  # it is not guessed


@FAST
@given(case=CASES, seed=st.integers(0, 999), side=st.integers(60, 260))
def test_points_boxes_and_masks_follow_a_random_geometry(make_dicom, make_breast, case, seed, side):
    path, _, mask, boxes = write(case, make_dicom, make_breast)
    steps = Compose(
        [
            OrientBreastd(KEYS),
            CropBreastd(KEYS),
            Letterboxd(KEYS, side),
            RandGeometryd(KEYS, prob=1.0).set_random_state(seed),
        ]
    )
    item = steps(load(path, mask, boxes))
    to_source = item["image"].meta["to_source"]
    inside = torch.nonzero(item["map"][0]).double()[:, [1, 0]] + 0.5  # points of the network input that are on the mask
    pixel = float(np.abs(to_source[:2, :2]).sum(axis=1).max())  # maximum size of a network pixel in source pixels
    back = map_points(inside, to_source)
    x1, y1, x2, y2 = boxes[0, :4].tolist()
    # nearest-neighbor sampling in two steps moves the edge of a mask by less than a pixel of each canvas
    assert (back >= torch.tensor([x1 - pixel - 1, y1 - pixel - 1])).all()
    assert (back <= torch.tensor([x2 + pixel + 1, y2 + pixel + 1])).all()
    assert abs(inside.mean(0) - map_points(box_center(boxes), invert(to_source))[0]).max() < 1.5
    assert covers(item["boxes"][0, :4].double(), map_boxes(boxes[:, :4].double(), invert(to_source))[0])


def box_center(boxes):
    return ((boxes[:, :2] + boxes[:, 2:4]) / 2.0).double()


def covers(hull, box):
    """Returns whether a hull contains a box; the hull of a hull is at least as large as the hull of the box."""
    return bool((hull[:2] <= box[:2] + 1e-3).all() and (hull[2:] >= box[2:] - 1e-3).all())


@pytest.mark.parametrize("seed", range(5))
def test_random_geometry_keeps_the_side_of_the_chest_wall(make_breast, make_mammogram, seed):
    picture, breast = make_breast(160, 120)
    item = {**make_mammogram(picture), "map": torch.from_numpy(breast.astype(np.float32))[None]}
    out = RandGeometryd(("image", "map"), prob=1.0).set_random_state(seed)(item)["map"]
    assert out[..., :60].sum() > out[..., 60:].sum()
