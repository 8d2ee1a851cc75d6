import itertools

import numpy as np
import pytest
import torch

from mtmedformer_monai.transforms import Turn, turn_item
from mtmedformer_monai.transforms.geometry.affine import invert, map_points, scaling
from mtmedformer_monai.transforms.geometry.turns import upright_turn

KEYS = ("image", "map", "boxes", "label")
TURNS = [Turn(*flags) for flags in itertools.product([False, True], repeat=3)]
IDS = ["".join("txy"[i] for i, flag in enumerate((t.transpose, t.flip_x, t.flip_y)) if flag) or "none" for t in TURNS]


@pytest.mark.parametrize("turn", TURNS, ids=IDS)
def test_pixels_move_according_to_the_matrix(turn):
    values = torch.arange(12.0).reshape(1, 3, 4)
    turned = turn.apply(values)
    rows, columns = torch.meshgrid(torch.arange(3), torch.arange(4), indexing="ij")
    centers = torch.stack([columns, rows], dim=-1).reshape(-1, 2) + 0.5
    x, y = map_points(centers.double(), turn.matrix((3, 4))).floor().long().T
    assert torch.equal(turned[0, y, x], values.flatten())


@pytest.mark.parametrize("turn", TURNS, ids=IDS)
def test_handedness(turn):
    assert turn.is_mirror == (np.linalg.det(turn.matrix((3, 4))) < 0)


@pytest.mark.parametrize("turn", TURNS, ids=IDS)
def test_upright_turn_undoes_any_turn_of_a_scaled_image(turn):
    matrix = scaling(2.0, 0.5) @ invert(turn.matrix((3, 4)))
    size = (4, 3) if turn.transpose else (3, 4)
    upright = matrix @ invert(upright_turn(matrix).matrix(size))
    assert upright[0, 1] == upright[1, 0] == 0
    assert upright[0, 0] > 0
    assert upright[1, 1] > 0


def test_no_turn_for_other_rotations():
    slanted = np.array([[1.0, 0.1, 0.0], [-0.1, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert upright_turn(slanted) == Turn()


def test_item_by_hand(make_item):
    item = make_item(8, 6)
    out = turn_item(item, Turn(flip_x=True, flip_y=True), KEYS)
    torch.testing.assert_close(out["image"].as_tensor(), item["image"].as_tensor().flip(-1, -2))
    np.testing.assert_array_equal(out["map"], item["map"].flip(-1, -2))
    assert out["boxes"][1].tolist() == [1.5, 4, 4.5, 6, 1]
    assert out["boxes"][2].tolist() == [-1] * 5
    assert out["label"] == item["label"]
    np.testing.assert_array_equal(out["image"].meta["to_source"], [[-1, 0, 6], [0, -1, 8], [0, 0, 1]])


def test_quarter_turn_changes_the_shape(make_item):
    item = make_item(8, 6)
    out = turn_item(item, Turn(transpose=True), KEYS)
    assert out["image"].shape == (1, 6, 8)
    assert out["map"].shape == (2, 6, 8)
    assert out["boxes"][1].tolist() == [2, 1.5, 4, 4.5, 1]


@pytest.mark.parametrize("turn", TURNS, ids=IDS)
def test_to_source_undoes_the_turn(make_item, turn):
    item = make_item(8, 6)
    image = turn_item(item, turn, KEYS)["image"]
    composed = image.meta["to_source"] @ turn.matrix((8, 6))
    np.testing.assert_allclose(composed, np.eye(3), atol=1e-12)
