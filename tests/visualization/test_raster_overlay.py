"""Overlays drawn with Pillow: masks, boxes and text stand where they belong."""

import numpy as np
import pytest
from PIL import Image, ImageColor

from mtmedformer_monai.visualization.palette import color_of
from mtmedformer_monai.visualization.raster_overlay import BOX_COLOR, LONGEST_SIDE, draw_findings


@pytest.fixture
def draw(tmp_path):
    """Draws onto an image of a size; returns the page, uint8 (H, W, 3), and the image's first row on it."""

    def make(size, masks=(), boxes=(), lines=()):
        draw_findings(np.full(size, 0.2, dtype=np.float32), masks, boxes, lines, tmp_path / "overlay.png")
        page = np.asarray(Image.open(tmp_path / "overlay.png"))
        top = int(np.flatnonzero((page[:, 0] > 0).any(axis=1))[0])
        return page, top

    return make


def test_a_contour_has_the_color_of_its_structure_and_the_inside_is_tinted(draw):
    mask = np.zeros((60, 80), dtype=bool)
    mask[10:30, 20:50] = True
    page, top = draw((60, 80), [("lesion", mask)])
    color = ImageColor.getrgb(color_of(0))
    assert tuple(page[top + 10, 20]) == color
    assert tuple(page[top + 29, 49]) == color
    inside = 0.85 * 51 + 0.15 * np.asarray(color)
    np.testing.assert_allclose(page[top + 20, 35], inside, atol=1)
    assert tuple(page[top + 9, 20]) == (51, 51, 51)
    assert tuple(page[top + 30, 50]) == (51, 51, 51)


def test_a_box_is_drawn_on_its_first_and_last_pixels(draw):
    page, top = draw((60, 80), boxes=[((10, 30, 40, 50), "x")])
    color = ImageColor.getrgb(BOX_COLOR)
    assert tuple(page[top + 49, 39]) == color
    assert tuple(page[top + 49, 10]) == color
    assert tuple(page[top + 50, 39]) == (51, 51, 51)
    assert tuple(page[top + 49, 40]) == (51, 51, 51)


def test_the_label_of_a_box_at_the_right_edge_is_not_cut_off(draw):
    first, top = draw((100, 200), boxes=[((10, 40, 20, 60), "lesion 0.97")])
    second, _ = draw((100, 200), boxes=[((190, 40, 200, 60), "lesion 0.97")])
    is_text = [(page[top : top + 38, :200] != 51).any(axis=-1) for page in (first, second)]
    assert is_text[1].sum() == is_text[0].sum() > 0


def test_structures_below_half_a_pixel_of_the_picture_are_drawn(draw):
    mask = np.zeros((4 * LONGEST_SIDE, 200), dtype=bool)
    mask[402, 41] = mask[2002, 101] = True  # a sixteenth of pixels 10 and 25 of rows 100 and 500
    page, top = draw(mask.shape, [("calcification", mask), ("absent", np.zeros_like(mask))])
    rows, columns = np.nonzero((page[top:, :50] == ImageColor.getrgb(color_of(0))).all(axis=-1))
    assert list(zip(rows, columns, strict=True)) == [(100, 10), (500, 25)]
    assert not (page[top:, :50] == ImageColor.getrgb(color_of(1))).all(axis=-1).any()


def test_large_images_are_downsampled_and_long_text_fits(draw):
    page, top = draw((10, 2 * LONGEST_SIDE), lines=[f"line {number}" for number in range(50)])
    assert page.shape[0] > 50 * 20
    assert (page[top : top + 5, :LONGEST_SIDE] == 51).all()


def test_a_mask_of_the_whole_image_and_an_empty_one_are_drawn(draw):
    whole, empty = np.ones((4, 4), dtype=bool), np.zeros((4, 4), dtype=bool)
    page, _ = draw((4, 4), [("a", whole), ("b", empty)])
    assert page.ndim == 3


def test_no_text_is_cut_off_at_the_edge_of_the_page(draw):
    """Neither the notice above a small image nor a long flag beside it."""
    page, _ = draw((10, 10), lines=["Note: not verified as a frontal chest radiograph (the file has no DICOM header)"])
    assert not page[:, -8:].any()
