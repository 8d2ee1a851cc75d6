import numpy as np
import pytest
import torch
from scipy import ndimage

from mtmedformer_monai.transforms.mammography.breast_mask import CoarseBreast, find_coarse_breast
from mtmedformer_monai.transforms.mammography.chest_wall import asymmetry_score, find_chest_wall


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("border", [0, 20])
@pytest.mark.parametrize("fog", [0.0, 0.08])
def test_side_with_and_without_padding(make_breast, side, border, fog):
    picture, _ = make_breast(140, 120, side, border, fog)
    assert find_chest_wall(find_coarse_breast(torch.from_numpy(picture)[None])) == side


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("skin", [2.0, 6.0])
def test_a_bright_skin_does_not_outweigh_a_straight_border(make_breast, side, skin):
    """As on processed digital images, in which fat at the chest wall may be far darker than the skin."""
    _, breast = make_breast(140, 120, side)
    away = ndimage.distance_transform_edt(np.pad(breast, ((0, 0), (9, 9)), mode="edge"))[:, 9:-9]
    tissue = np.where(away < 5, 0.15 * skin, 0.15)
    shown = np.where(breast, tissue, 0.0).astype(np.float32)
    assert find_chest_wall(CoarseBreast(shown, breast)) == side


def test_reflection_negates_the_score(make_breast):
    picture, breast = make_breast(140, 120)
    score = asymmetry_score(CoarseBreast(picture, breast))
    mirrored = CoarseBreast(picture[:, ::-1], breast[:, ::-1])
    assert asymmetry_score(mirrored) == pytest.approx(-score, abs=1e-6)


def test_symmetric_breast_is_inconclusive():
    y, x = np.mgrid[-1:1:100j, -1:1:100j]
    disk = x * x + y * y < 0.8
    assert find_chest_wall(CoarseBreast(disk.astype(np.float32), disk)) == ""


def test_the_smallest_mask():
    mask = np.zeros((5, 5), dtype=bool)
    mask[2, 2] = True
    assert find_chest_wall(CoarseBreast(mask.astype(np.float32), mask)) == ""
