from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from mtmedformer_monai.data.synthetic.mammography.breast_shape import VIEWS, draw_breasts, place_in_view, project
from mtmedformer_monai.data.synthetic.mammography.lesion_appearance import hide, render_lesion
from mtmedformer_monai.data.synthetic.mammography.lesions import KINDS, Lesion

SHAPE, SPACING = (240, 200), 1.0
ALL_KINDS = [kind for kinds in KINDS.values() for kind in kinds]


def make(kind, seed=0, view="CC", visibility=1.0, diameter=20.0, scale=1):
    rng = np.random.default_rng(seed)
    shot = project(draw_breasts(rng)[0], view, (SHAPE[0] * scale, SHAPE[1] * scale), SPACING / scale, rng)
    point = (0.5 * shot.breast.reach, 0.15, 0.1)
    lesion = Lesion(kind, point, diameter, 0.09, seed, dict.fromkeys(VIEWS, visibility))
    return shot, lesion


def render(kind, share=0.2, **options):
    shot, lesion = make(kind, **options)
    return shot, lesion, *render_lesion(shot, lesion, np.full(shot.shape, share, np.float32))


@pytest.mark.parametrize(("kind", "view"), [(kind, VIEWS[index % len(VIEWS)]) for index, kind in enumerate(ALL_KINDS)])
def test_a_lesion_has_the_given_position_and_size(kind, view):
    shot, lesion, field, mask = render(kind, view=view)
    rows, columns = np.nonzero(mask)
    x, up = place_in_view(lesion.point, shot.breast, view)
    np.testing.assert_allclose([shot.x[0, columns].mean(), shot.up[rows, 0].mean()], [x, up], atol=6.0)
    assert 0.15 < mask.sum() * SPACING**2 / (np.pi * 10.0**2) < 1.6
    assert field[mask].mean() > 3 * np.abs(field[~mask]).mean()


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_a_lesion_is_one_connected_component(kind):
    assert all(ndimage.label(render(kind, seed=seed)[3])[1] == 1 for seed in range(2))


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_an_obscured_lesion_has_less_contrast(kind):
    clear, hidden = (render(kind, visibility=visible)[2].sum() for visible in (1.0, 0.3))
    assert 0.2 * clear < hidden < 0.75 * clear


@pytest.mark.parametrize("kind", ["round mass", "irregular mass"])
def test_a_mass_has_less_contrast_in_dense_tissue(kind):
    fat, dense = (render(kind, share=share)[2].sum() for share in (0.0, 0.7))
    assert dense < 0.85 * fat


def sharpness(kind):
    """Returns the largest gradient relative to the peak, which is large for sharp margins."""
    fields = [render(kind, seed=seed)[2] for seed in range(4)]
    return np.mean([np.hypot(*np.gradient(field)).max() / field.max() for field in fields])


def roughness(kind):
    """Returns the margin length relative to a disk of equal area, without calcifications and spicules."""
    masks = [render(kind, seed=seed)[3] for seed in range(6)]
    rims = [mask & ~ndimage.binary_erosion(mask) for mask in masks]
    return np.mean([rim.sum() / np.sqrt(mask.sum()) for rim, mask in zip(rims, masks, strict=True)])


def test_malignant_masses_are_rougher():
    assert roughness("irregular mass") > 1.05 * roughness("round mass")
    assert roughness("spiculated mass") > 1.03 * roughness("round mass")


def test_benign_margins_are_sharper():
    assert sharpness("round mass") > 1.3 * sharpness("irregular mass")


def test_spicules_reach_beyond_the_mass():
    reach = []
    for kind in ("spiculated mass", "irregular mass"):
        _, _, field, mask = render(kind)
        outside = ~ndimage.binary_dilation(mask, iterations=4)
        reach.append(field[outside].sum())
    assert reach[0] > 5 * reach[1]


def test_fine_calcifications_are_smaller_and_more_than_coarse_ones():
    counts, sizes = [], []
    for kind in ("microcalcifications", "coarse calcifications"):
        field = render(kind, seed=3, scale=3)[2]
        parts, count = ndimage.label(field > 0.3)
        counts.append(count)
        sizes.append(np.median(np.bincount(parts.ravel())[1:]))
    assert counts[0] > 2 * counts[1]
    assert sizes[0] < sizes[1]


def test_tissue_is_added_only_over_obscured_lesions():
    shot, lesion = make("round mass", visibility=0.3)
    share, rng = np.full(SHAPE, 0.2, np.float32), np.random.default_rng(0)
    x, up = place_in_view(lesion.point, shot.breast, "CC")
    near = np.hypot(shot.x - x, shot.up - up) < 8
    assert hide(shot, share, [lesion], rng)[near].mean() > 0.25
    clear = replace(lesion, visibility=dict.fromkeys(VIEWS, 1.0))
    np.testing.assert_array_equal(hide(shot, share, [clear], rng), share)


def test_a_lesion_smaller_than_a_pixel_has_a_mask_of_one():
    rng = np.random.default_rng(0)
    shot = project(draw_breasts(rng)[0], "CC", (16, 14), 15.0, rng)
    lesion = Lesion("round mass", (40.0, 0.1, 0.0), 3.0, 0.09, 1, dict.fromkeys(VIEWS, 1.0))
    assert render_lesion(shot, lesion, np.zeros((16, 14), np.float32))[1].sum() == 1
