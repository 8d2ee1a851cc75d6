import numpy as np
import pytest
import torch

from mtmedformer_monai.transforms import find_breast
from mtmedformer_monai.transforms.mammography.breast_mask import coarse_copy, find_coarse_breast, widen


def overlap(picture, breast):
    found = find_breast(torch.from_numpy(picture)[None])
    return (found.numpy() & breast).sum() / (found.numpy() | breast).sum()


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(
    ("height", "width", "border", "fog"),
    [(120, 90, 0, 0.0), (120, 90, 0, 0.08), (160, 150, 30, 0.08), (900, 700, 0, 0.0), (64, 48, 0, 0.0)],
    ids=["digital", "film", "film in padding", "larger than the copy", "tiny"],
)
def test_digital_images_and_films(make_breast, height, width, border, fog, side):
    picture, breast = make_breast(height, width, side, border, fog)
    assert overlap(picture, breast) > (
        0.9 if height < 100 else 0.93
    )  # the mask is about one pixel larger along the skin


@pytest.mark.parametrize("fog", [0.0, 0.08])
def test_labels_tape_and_scratches_are_excluded(make_breast, fog):
    picture, breast = make_breast(240, 200, "left", 0, fog)
    picture[8:40, 160:190] = 1.0  # a label block
    picture[14:34, 168:182] = 0.2
    picture[:, 195:] = 1.0  # tape
    picture[200:202, 60:190] = 0.9  # a scratch
    found = find_breast(torch.from_numpy(picture)[None]).numpy()
    assert not found[:50, 150:].any()
    assert not found[:, 194:].any()
    assert (found & breast).sum() > 0.98 * breast.sum()


def with_dark_fat(picture, breast, fat, gland=0.6):
    """The picture with white gland in the upper part of the breast, a share `gland` of it, and gray fat elsewhere."""
    rows = np.nonzero(breast)[0]
    is_gland = breast & (np.arange(len(breast))[:, None] < np.quantile(rows, gland))
    texture = np.random.default_rng(0).uniform(0.8, 1.2, picture.shape)
    tissue = np.clip(np.where(is_gland, 0.95, fat) * texture, 0.0, 1.0)
    return np.where(breast, tissue, picture).astype(np.float32)


@pytest.mark.parametrize(("fat", "gland"), [(0.12, 0.3), (0.2, 0.45), (0.3, 0.6)])
def test_dark_fat_is_of_the_breast_where_the_background_is_black(make_breast, fat, gland):
    """As on processed digital images, where fat may be nearer to the background than to gland."""
    picture, breast = make_breast(240, 200)
    picture[8:24, 160:192] = 1.0  # a label
    assert overlap(with_dark_fat(picture, breast, fat, gland), breast) > 0.93


@pytest.mark.parametrize("border", [0, 30])
def test_the_fog_of_a_film_is_not_dark_fat(make_breast, border):
    picture, breast = make_breast(240, 200, border=border, fog=0.08)
    found = find_breast(torch.from_numpy(with_dark_fat(picture, breast, 0.3))[None]).numpy()
    assert found[~breast].mean() < 0.05


def test_tape_larger_than_the_breast(make_breast):
    picture, breast = make_breast(200, 240)
    picture[:, 185:] = 0.99
    assert overlap(picture, breast) > 0.93


@pytest.mark.parametrize("fog", [0.0, 0.08])
def test_both_breasts_apart(make_breast, fog):
    right, left = make_breast(200, 120, "right", 0, fog), make_breast(200, 120, "left", 0, fog)
    gap = np.full((200, 12), fog, dtype=np.float32)
    picture = np.concatenate([right[0], gap, left[0]], axis=1)
    assert overlap(picture, np.concatenate([right[1], gap > 1.0, left[1]], axis=1)) > 0.93


def test_tape_half_as_large_as_the_breast_is_no_second_one(make_breast):
    picture, breast = (np.pad(part, ((0, 60), (0, 55))) for part in make_breast(160, 200))
    picture[189:] = np.where(np.arange(255) % 20 < 10, 1.0, 0.8)  # not uniformly white
    assert (picture[189:] > 0).sum() > 0.5 * breast.sum()
    assert overlap(picture, breast) > 0.93


def test_the_mask_is_connected_without_holes(make_breast):
    picture, _ = make_breast(120, 90)
    picture[55:60, 20:25] = 0.0
    found = find_breast(torch.from_numpy(picture)[None])
    assert found[50:65, 15:30].all()


def test_margin_is_a_fraction_of_the_longer_side():
    mask = np.zeros((100, 50), dtype=bool)
    mask[50, 20] = True
    wide = widen(mask, 0.05)
    assert np.flatnonzero(wide[50]).tolist() == list(range(15, 26))
    assert wide.sum() == sum(y * y + x * x <= 25 for y in range(-5, 6) for x in range(-5, 6))
    assert widen(mask, 0.0) is mask


@pytest.mark.parametrize(
    "picture",
    [np.zeros((60, 50)), np.full((60, 50), 0.7), np.eye(400), np.array([[0.0, 1.0]])],
    ids=["black", "one gray", "a line", "two pixels"],
)
def test_no_breast(picture):
    assert find_breast(torch.from_numpy(picture.astype(np.float32))[None]) is None


def test_text_is_not_a_breast():
    picture = np.zeros((200, 160), dtype=np.float32)
    picture[20:30, 20:80:3] = 1.0
    assert find_coarse_breast(torch.from_numpy(picture)[None]) is None


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((4000, 3000), (256, 192)), ((100, 80), (100, 80)), ((3, 5000), (1, 256))],
)
def test_small_copy(shape, expected):
    ramp = torch.linspace(0, 1, shape[0])[:, None].expand(*shape)[None]
    copy = coarse_copy(ramp)
    assert copy.shape == expected
    if expected[0] > 1:
        np.testing.assert_allclose(copy[:, 0], (np.arange(expected[0]) + 0.5) / expected[0], atol=0.01)
