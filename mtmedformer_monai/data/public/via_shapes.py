"""Reads and draws regions annotated with the VGG Image Annotator (VIA 1 and 2, CSV export)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mtmedformer_monai.data.array_types import Mask

from .fill_ellipse import fill_ellipse
from .fill_polygon import fill_polygon
from .label_table import read_table

Shape = Mapping[str, Any]

COLUMNS = ("#filename", "region_shape_attributes")


def read_via_shapes(path: Path) -> dict[str, list[Shape]]:
    """Reads {file name without spaces: shapes}; files without regions are omitted.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is not a CSV export of VIA.
    """
    shapes: dict[str, list[Shape]] = {}
    for row in read_table(path, COLUMNS):
        try:
            shape = json.loads(row["region_shape_attributes"] or "{}")
        except json.JSONDecodeError as error:
            raise ValueError(f"{path} expects shapes as JSON; use the original VIA export.") from error
        if shape:
            shapes.setdefault(row["#filename"].replace(" ", ""), []).append(shape)
    return shapes


def draw_shape(shape: Shape, height: int, width: int) -> Mask | None:
    """Draws a shape as a mask; None for points and for polygons without vertices, which have no area.

    Args:
        shape: shape attributes, with the `name` polygon, polyline (which is closed), ellipse, circle or rect, and its
            coordinates in pixels.
        height: number of rows, H.
        width: number of columns, W.
    """
    name = shape.get("name")
    if name in {"polygon", "polyline"}:
        corners = list(zip(shape["all_points_x"], shape["all_points_y"], strict=True))
        return fill_polygon(corners, height, width) if corners else None
    if name in {"ellipse", "circle"}:
        radii = (shape["rx"], shape["ry"]) if name == "ellipse" else (shape["r"], shape["r"])
        return fill_ellipse((shape["cx"], shape["cy"]), radii, height, width, float(shape.get("theta", 0.0)))
    if name == "rect":
        (x1, y1), (x2, y2) = (shape["x"], shape["y"]), (shape["x"] + shape["width"], shape["y"] + shape["height"])
        return fill_polygon([(x1, y1), (x2, y1), (x2, y2), (x1, y2)], height, width)
    return None
