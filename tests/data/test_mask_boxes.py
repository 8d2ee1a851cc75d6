import numpy as np

from mtmedformer_monai.data.mask_boxes import box_of_mask, boxes_of_parts


def two_parts():
    mask = np.zeros((8, 10), dtype=bool)
    mask[1:4, 2:5] = True
    mask[6, 8] = True
    return mask


def test_one_half_open_box_per_component():
    kept, boxes = boxes_of_parts(two_parts(), 0)
    np.testing.assert_array_equal(kept, two_parts())
    assert boxes == [[2.0, 1.0, 5.0, 4.0], [8.0, 6.0, 9.0, 7.0]]


def test_small_components_are_removed_from_a_copy():
    mask = two_parts()
    kept, boxes = boxes_of_parts(mask, 2)
    assert boxes == [[2.0, 1.0, 5.0, 4.0]]
    assert not kept[6, 8]
    assert mask[6, 8]


def test_components_that_touch_at_a_corner_are_connected():
    mask = np.eye(3, dtype=bool)
    assert boxes_of_parts(mask, 0)[1] == [[0.0, 0.0, 3.0, 3.0]]


def test_one_box_per_mask_and_none_for_an_empty_mask():
    assert box_of_mask(two_parts()) == [2.0, 1.0, 9.0, 7.0]
    assert box_of_mask(np.zeros((3, 3), dtype=bool)) is None
