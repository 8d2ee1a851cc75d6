import math

import pytest

from mtmedformer_monai.data.box_problems import box_problems
from mtmedformer_monai.data.public.sound_boxes import corners_of, sound_boxes

SIZE = (80, 64)  # rows, columns


@pytest.mark.parametrize(
    ("box", "kept"),
    [
        ((1, 2, 3, 4), [1, 2, 3, 4]),
        ((-5, 70, 9, 99), [0, 70, 9, 80]),
        ((30, 20, 10, 5), [10, 5, 30, 20]),
        ((64, 10, 70, 20), None),
        ((10, 80, 20, 90), None),
        ((-9, -9, 0, 0), None),
        ((5, 5, 5, 9), None),
        ((5, 5, 5.0001, 9), None),
        ((math.nan, 5, 6, 9), None),
    ],
    ids=["inside", "reaches out", "swapped", "right", "below", "above", "line", "hair", "NaN"],
)
def test_one_box(box, kept):
    boxes = sound_boxes([box], SIZE)
    assert boxes == (None if kept is None else [kept])
    assert list(box_problems({"lesion": boxes or []}, SIZE)) == []


def test_boxes_without_area_are_removed():
    assert sound_boxes([(5, 5, 5, 9), (1, 2, 3, 4)], SIZE) == [[1, 2, 3, 4]]
    assert sound_boxes([], SIZE) == []
    assert sound_boxes([(100, 100, 200, 200)], None) == [[100, 100, 200, 200]]


def test_a_corner_and_a_size():
    assert corners_of(1, 2, 10, 20) == [1, 2, 11, 22]
