import numpy as np
import pytest

from mtmedformer_monai.data.synthetic.mammography.burned_in_annotation import (
    LETTERS,
    burn_in_annotation,
    draw_text,
    find_corner,
    text_box,
)

SHAPE = (128, 96)


def breast(rows=slice(40, 90), columns=slice(0, 50)):
    mask = np.zeros(SHAPE, dtype=bool)
    mask[rows, columns] = True
    return mask


def test_all_letters_of_sides_and_views_differ():
    assert set("R CC R MLO L CC L MLO") <= set(LETTERS)
    drawn = [draw_text((20, 20), letter, (2.0, 2.0), 12.0) for letter in "RLCMO"]
    assert all(np.abs(drawn[i] - drawn[j]).sum() > 10 for i in range(5) for j in range(i))


@pytest.mark.parametrize("chest_wall_left", [True, False])
@pytest.mark.parametrize("is_sticker", [True, False])
def test_an_annotation_is_beside_the_breast_opposite_the_chest_wall(chest_wall_left, is_sticker):
    mask = breast() if chest_wall_left else breast()[:, ::-1]
    labeled = burn_in_annotation(np.zeros(SHAPE), mask, "R CC", chest_wall_left, is_sticker)
    rows, columns = np.nonzero(labeled)
    assert labeled.max() > 0.7  # strokes thinner than a pixel
    assert not labeled[mask].any()
    assert (columns.min() > SHAPE[1] // 2) == chest_wall_left == (columns.max() > SHAPE[1] // 2)
    assert rows.max() < SHAPE[0] // 4


def test_letters_are_dark_on_a_sticker_and_bright_without():
    bare, sticker = (burn_in_annotation(np.zeros(SHAPE), breast(), "L MLO", True, kind) for kind in (False, True))
    assert sticker.sum() > 2 * bare.sum()


def test_an_annotation_is_placed_below_a_breast_that_reaches_the_top():
    assert find_corner(breast(slice(0, 60), slice(0, 96)), text_box("R CC", 5.0), True)[0] > 100


def test_no_annotation_without_enough_space():
    image = np.full(SHAPE, 0.5)
    np.testing.assert_array_equal(burn_in_annotation(image, np.ones(SHAPE, dtype=bool), "R CC", True, False), image)
