import numpy as np
import pytest
import torch

from mtmedformer_monai.transforms import Motion, RandGeometryd, move_item
from mtmedformer_monai.transforms.geometry.affine import map_points

KEYS = ("image", "map", "boxes", "label")


def test_same_seed_same_motion(make_item):
    item = make_item(24, 20)
    first = RandGeometryd(KEYS, prob=1.0).set_random_state(5)
    second = RandGeometryd(KEYS, prob=1.0).set_random_state(5)
    for _ in range(3):
        ours, theirs = first(item), second(item)
        for key in KEYS:
            np.testing.assert_array_equal(ours[key], theirs[key])
    assert not np.array_equal(ours["image"], first(item)["image"])


def test_prob_zero_leaves_the_item(make_item):
    item = make_item(8, 8)
    assert RandGeometryd(KEYS, prob=0.0)(item)["image"] is item["image"]


def test_mirror_by_hand(make_item):
    item = make_item(8, 6)
    out = move_item(item, Motion(flip=True), KEYS)
    torch.testing.assert_close(out["image"].as_tensor(), item["image"].as_tensor().flip(-1), atol=1e-5, rtol=0)
    np.testing.assert_array_equal(out["map"], item["map"].flip(-1))
    assert out["boxes"][1].tolist() == [1.5, 2, 4.5, 4, 1]
    np.testing.assert_allclose(out["image"].meta["to_source"], [[-1, 0, 6], [0, 1, 0], [0, 0, 1]])


def test_two_flips_cancel(make_item):
    item = make_item(9, 7)
    out = move_item(move_item(item, Motion(flip=True), KEYS), Motion(flip=True), KEYS)
    torch.testing.assert_close(out["image"].as_tensor(), item["image"].as_tensor(), atol=1e-5, rtol=0)
    torch.testing.assert_close(out["boxes"], item["boxes"])
    np.testing.assert_allclose(out["image"].meta["to_source"], np.eye(3), atol=1e-12)


def test_quarter_turn_is_clockwise(make_item):
    item = make_item(8, 8)
    out = move_item(item, Motion(rotation_degrees=90.0), KEYS)
    np.testing.assert_array_equal(out["map"][0], torch.rot90(item["map"][0], -1))
    assert torch.isnan(out["map"][1]).all()


@pytest.mark.parametrize("seed", range(5))
def test_image_mask_and_boxes_remain_aligned(make_item, seed):
    """A bright block, its mask and its box still coincide after the transform."""
    item = make_item(60, 50)
    item["image"][:] = 0.0
    item["image"][:, 20:40, 15:30] = 1.0
    item["map"] = item["image"].as_tensor().clone()
    item["boxes"] = torch.tensor([[15.0, 20, 30, 40, 0]])
    out = RandGeometryd(KEYS, prob=1.0, max_rotation_degrees=20.0, flip_prob=0.5).set_random_state(seed)(item)
    inside = out["map"][0] > 0
    agreement = ((out["image"][0] > 0.5) == inside).float().mean()
    assert agreement > 0.99
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    hull = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    np.testing.assert_allclose(out["boxes"][0, :4], hull, atol=1.5)  # sampling may miss the pixel at a corner
    center = map_points(
        torch.tensor([[22.5, 30.0]], dtype=torch.float64), np.linalg.inv(out["image"].meta["to_source"])
    )
    np.testing.assert_allclose(center[0], [np.mean(hull[::2]), np.mean(hull[1::2])], atol=1.5)


def test_limits_are_kept():
    transform = RandGeometryd("image", prob=1.0, max_rotation_degrees=7, max_scale=0.2, max_translation=0.1)
    transform.set_random_state(0)
    for _ in range(200):
        transform.randomize()
        motion = transform.motion
        assert abs(motion.rotation_degrees) <= 7
        assert 1 / 1.2 <= motion.scale <= 1.2
        assert max(map(abs, motion.shift)) <= 0.1
        assert not motion.flip


def test_negative_limit():
    with pytest.raises(ValueError, match="limits of 0 or more"):
        RandGeometryd("image", max_scale=-0.1)


def test_a_structure_that_is_shrunk_away_keeps_a_pixel(make_item):
    """At a scale of 1/2 about the center, every other pixel is sampled: of 8, those at indices 1, 3, ..."""
    item = make_item(8, 8)
    item["map"][0] = 0.0
    item["map"][0, 2, 2] = 1.0
    moved = move_item(item, Motion(scale=0.5), ("image", "map"))["map"]
    assert torch.nonzero(moved[0]).tolist() == [[3, 3]]
