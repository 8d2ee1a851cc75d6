"""The eight ways to lay a picture: quarter turns and mirror images, which move whole pixels and lose nothing."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from mtmedformer_monai.keys import IMAGE

from .affine import Affine, compose, invert, scaling, translation
from .canvas import image_of, is_boxes, is_map, move_boxes, with_values


@dataclass(frozen=True)
class Turn:
    """Transposes first, then mirrors.

    Attributes:
        transpose: rows become columns.
        flip_x: mirrors left and right.
        flip_y: mirrors top and bottom.
    """

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @property
    def is_mirror(self) -> bool:
        """Whether the result shows the other hand; two mirrors are a turn by 180 degrees, and show the same."""
        return (self.transpose + self.flip_x + self.flip_y) % 2 == 1

    def apply(self, values: Tensor) -> Tensor:
        """Turns (..., H, W)."""
        if self.transpose:
            values = values.transpose(-1, -2)
        axes = [axis for axis, flip in ((-1, self.flip_x), (-2, self.flip_y)) if flip]
        return values.flip(axes) if axes else values.contiguous()

    def matrix(self, size: tuple[int, int]) -> Affine:
        """Maps pixels of a picture (H, W) to those of the turned one."""
        height, width = size[::-1] if self.transpose else size
        swap = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]) if self.transpose else np.eye(3)
        mirror_x = compose(translation(width, 0), scaling(-1, 1)) if self.flip_x else np.eye(3)
        mirror_y = compose(translation(0, height), scaling(1, -1)) if self.flip_y else np.eye(3)
        return compose(mirror_y, mirror_x, swap)


def upright_turn(matrix: Affine) -> Turn:
    """The turn after which a map scales and shifts alone; none for maps that rotate by other than quarter turns.

    Args:
        matrix: (3, 3), maps the points of the picture that will be turned.
    """
    linear = matrix[:2, :2]
    transpose = bool(linear[0, 0] == 0.0 and linear[1, 1] == 0.0)
    if transpose:
        linear = linear[:, ::-1]
    if linear[0, 1] != 0.0 or linear[1, 0] != 0.0:
        return Turn()
    return Turn(transpose, bool(linear[0, 0] < 0.0), bool(linear[1, 1] < 0.0))


def turn_item(
    data: Mapping[Hashable, Any], turn: Turn, keys: tuple[Hashable, ...], image_key: str = IMAGE
) -> dict[Hashable, Any]:
    """Turns an item's image and targets; `to_source` keeps the way back.

    Args:
        data: item with an image (1, H, W), maps (C, H, W) and boxes (N, 5).
        turn: what to do.
        keys: what to turn; those missing are passed over.
        image_key: key of the image.
    """
    item = dict(data)
    image = image_of(item, image_key)
    to_new = turn.matrix((int(image.shape[-2]), int(image.shape[-1])))
    turned = turn.apply(image.as_tensor())
    for key in keys:
        value = item.get(key)
        if key == image_key:
            item[key] = with_values(image, turned, invert(to_new))
        elif is_map(value):
            item[key] = turn.apply(value)
        elif is_boxes(value):
            item[key] = move_boxes(value, to_new, (int(turned.shape[-2]), int(turned.shape[-1])))
    return item
