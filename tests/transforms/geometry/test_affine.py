import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtmedformer_monai.transforms.geometry.affine import (
    as_affine,
    compose,
    index_affine,
    invert,
    map_boxes,
    map_points,
    resample,
    resize_area,
    resize_nearest,
    scaling,
    translation,
)

LENGTH = st.floats(0.1, 10)


def test_the_last_map_comes_first():
    matrix = compose(translation(1, 2), scaling(10, 100))
    assert map_points(torch.tensor([[1.0, 1.0]]), matrix).tolist() == [[11, 102]]


@given(LENGTH, LENGTH, st.floats(-100, 100), st.floats(-100, 100))
def test_inverse(a, b, x, y):
    matrix = compose(scaling(a, b), translation(x, y))
    np.testing.assert_allclose(compose(invert(matrix), matrix), np.eye(3), atol=1e-9)


def test_boxes_flip_and_stay_ordered():
    flip = compose(translation(10, 0), scaling(-1, 1))
    assert map_boxes(torch.tensor([[1.0, 2, 4, 6]]), flip).tolist() == [[6, 2, 9, 6]]


def test_rotated_box_becomes_its_bounding_box():
    quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    assert map_boxes(torch.tensor([[0.0, 0, 4, 2]]), quarter).tolist() == [[-2, 0, 0, 4]]


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_identity_keeps_every_pixel(mode):
    image = torch.rand(2, 5, 7)
    torch.testing.assert_close(resample(image, np.eye(3), (5, 7), mode), image, atol=1e-5, rtol=0)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_integer_shift_and_outside_value(mode):
    image = torch.arange(4.0).reshape(1, 1, 4) + 1
    shifted = resample(image, translation(1, 0), (1, 4), mode, outside=-7.0)
    torch.testing.assert_close(shifted, torch.tensor([[[2.0, 3, 4, -7]]]))


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_mirror(mode):
    image = torch.rand(1, 3, 4)
    mirrored = resample(image, compose(translation(4, 0), scaling(-1, 1)), (3, 4), mode)
    torch.testing.assert_close(mirrored, image.flip(-1), atol=1e-5, rtol=0)


def test_nearest_preserves_nan():
    image = torch.tensor([[[float("nan"), 1.0]]])
    assert torch.isnan(resample(image, np.eye(3), (1, 2), "nearest")).tolist() == [[[True, False]]]


def test_row_bands_join_seamlessly():
    ramp = torch.arange(1300.0)[None, :, None].expand(1, 1300, 2)
    torch.testing.assert_close(resample(ramp, np.eye(3), (1300, 2)), ramp, atol=1e-3, rtol=0)


@pytest.mark.parametrize("mirror", [1, -1], ids=["upright", "mirrored"])
def test_scaling_and_shifting_agree_with_grid_sample(mirror):
    image = torch.rand(2, 7, 5, generator=torch.Generator().manual_seed(0))
    scale_x, scale_y, shift_x, shift_y = mirror * 0.21, 0.34, 4.9 if mirror < 0 else 0.1, -0.6
    found = resample(image, compose(translation(shift_x, shift_y), scaling(scale_x, scale_y)), (23, 22), outside=-1.0)
    x = (torch.arange(22) + 0.5) * scale_x + shift_x
    y = (torch.arange(23) + 0.5) * scale_y + shift_y
    grid = torch.stack(torch.meshgrid(2 * x / 5 - 1, 2 * y / 7 - 1, indexing="xy"), dim=-1)[None]
    expected = torch.nn.functional.grid_sample(image[None], grid, padding_mode="border", align_corners=False)[0]
    inside = ((y >= 0) & (y < 7))[:, None] & ((x >= 0) & (x < 5))
    assert inside.any()
    assert not inside.all()
    torch.testing.assert_close(found, torch.where(inside, expected, -1.0), atol=1e-5, rtol=0)


def test_shrinking_averages():
    checks = (torch.arange(64)[:, None] + torch.arange(64)) % 2
    small = resize_area(checks[None].float(), (16, 16))
    torch.testing.assert_close(
        small, torch.full((1, 16, 16), 0.5), atol=0.01, rtol=0
    )  # plain bilinear interpolation gives 0 or 1


def test_shrinking_keeps_the_geometry():
    ramp = (torch.arange(60.0) + 0.5).expand(1, 4, 60)
    small = resize_area(ramp, (4, 20))
    expected = (torch.arange(20.0) + 0.5) * 3
    torch.testing.assert_close(
        small[0, 0, 2:-2], expected[2:-2], atol=1e-3, rtol=0
    )  # the filter is truncated at the ends


def test_nearest_resize():
    assert resize_nearest(torch.tensor([[[1.0, 2.0, 3.0, 4.0]]]), (1, 2)).tolist() == [[[2.0, 4.0]]]


def test_index_affine_maps_pixel_centers_to_millimeters():
    half = scaling(2, 2)  # each pixel of the image covers 2 x 2 source pixels
    affine = index_affine(half, np.array([0.5, 0.1]))
    # the center of pixel (0, 0) is between source pixels 0 and 1, at 0.5 pixels
    np.testing.assert_allclose(affine @ [0, 0, 0, 1], [0.25, 0.05, 0, 1])
    np.testing.assert_allclose(affine @ [1, 2, 0, 1], [1.25, 0.45, 0, 1])
    np.testing.assert_allclose(index_affine(np.eye(3), np.full(2, np.nan)), np.eye(4))


def test_as_affine():
    assert as_affine(torch.eye(3)).dtype == np.float64
    with pytest.raises(ValueError, match=r"got \(2, 3, 3\); decollate"):
        as_affine(torch.zeros(2, 3, 3))
