import pytest

from mtmedformer_monai.data.box_problems import box_problems

SIZE = (8, 12)  # rows, columns


@pytest.mark.parametrize("box", [[0, 0, 12, 8], [1.5, 2, 3, 4.5]], ids=["whole image", "inside"])
def test_a_box_inside_the_image_is_valid(box):
    assert list(box_problems({"opacity": [box]}, SIZE, ["opacity"])) == []


@pytest.mark.parametrize(
    ("box", "text"),
    [
        ([0, 0, 12.5, 8], "exceeds the image of 12 x 8"),
        ([0, 0, 8, 12], "exceeds the image of 12 x 8"),
        ([-1, 0, 4, 4], "exceeds the image"),
        ([5, 5, 3, 6], "expects x1 < x2"),
        ([5, 5, 6, 5], "expects x1 < x2"),
        ([1, 2, 3], "expects 4 numbers"),
        ([1, 2, 3, "4"], "expects 4 numbers"),
        ([1, 2, 3, float("nan")], "expects 4 numbers"),
        (7, "expects 4 numbers"),
    ],
    ids=["too wide", "axes swapped", "negative", "inverted", "flat", "three", "text", "nan", "no list"],
)
def test_an_invalid_box_is_reported(box, text):
    (problem,) = box_problems({"opacity": [[1, 1, 2, 2], box]}, SIZE)
    assert text in problem


def test_every_invalid_box_is_reported():
    assert len(list(box_problems({"a": [[1, 2], [3, 4]], "b": [[5]]}, SIZE))) == 3


def test_empty_and_missing_boxes_are_valid():
    assert list(box_problems({"opacity": [], "nodule": None}, SIZE)) == []


def test_an_unknown_class_and_a_box_without_its_list_are_reported():
    unknown, unlisted = box_problems({"nodule": [], "opacity": {}}, SIZE, ["opacity"])
    assert "boxes of 'nodule' are none of the classes ['opacity']" in unknown
    assert "expect a list" in unlisted


def test_without_a_size_only_the_corners_are_checked():
    assert list(box_problems({"opacity": [[0, 0, 9999, 9999]]}, None)) == []
    assert len(list(box_problems({"opacity": [[9, 0, 1, 1]]}, None))) == 1
