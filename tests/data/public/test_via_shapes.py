import json

import numpy as np
import pytest

from mtmedformer_monai.data.public.via_shapes import draw_shape, read_via_shapes
from tests.data.little_images import write_lines
from tests.data.little_shapes import write_via


def corners(x1, y1, x2, y2):
    return {"all_points_x": [x1, x2, x2, x1], "all_points_y": [y1, y1, y2, y2]}


@pytest.mark.parametrize(
    "shape",
    [
        {"name": "polygon", **corners(2, 1, 6, 4)},
        {"name": "polyline", **corners(2, 1, 6, 4)},
        {"name": "rect", "x": 2, "y": 1, "width": 4, "height": 3},
    ],
    ids=lambda shape: shape["name"],
)
def test_a_rectangle_in_all_shape_types(shape):
    expected = np.zeros((6, 8), dtype=bool)
    expected[1:4, 2:6] = True
    assert np.array_equal(draw_shape(shape, 6, 8), expected)


def test_round_shapes():
    circle = draw_shape({"name": "circle", "cx": 10, "cy": 8, "r": 5}, 20, 20)
    ellipse = draw_shape({"name": "ellipse", "cx": 10, "cy": 8, "rx": 5, "ry": 5, "theta": 1.2}, 20, 20)
    assert abs(int(circle.sum()) - 25 * np.pi) < 5
    assert np.array_equal(circle, ellipse)


def test_a_point_has_no_area():
    assert draw_shape({"name": "point", "cx": 3, "cy": 3}, 6, 8) is None


def test_shapes_are_listed_by_file(tmp_path):
    point = {"name": "point", "cx": 1, "cy": 2}
    path = write_via(tmp_path / "v.csv", [("P1 .jpg", point), ("P2.jpg", {}), ("P1.jpg", {**point, "cx": 5})])
    assert read_via_shapes(path) == {"P1.jpg": [point, {**point, "cx": 5}]}


def test_another_table_is_reported(tmp_path):
    with pytest.raises(ValueError, match="#filename"):
        read_via_shapes(write_lines(tmp_path / "v.csv", ["image,shape", f"a,{json.dumps(1)}"]))
    with pytest.raises(ValueError, match="expects shapes as JSON"):
        read_via_shapes(write_lines(tmp_path / "w.csv", ["#filename,region_shape_attributes", "a,{x}"]))
