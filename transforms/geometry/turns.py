"""The eight orthogonal orientations of an image: rotations by multiples of 90 degrees and reflections.

They permute pixels without interpolation, so they are lossless.
"""

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
    """An orthogonal orientation: a transpose followed by flips.

    Attributes:
        transpose: whether to swap rows and columns.
        flip_x: whether to flip left and right.
        flip_y: whether to flip top and bottom.
    """

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @property
    def is_mirror(self) -> bool:
        """Whether the orientation includes a reflection; two flips are a rotation by 180 degrees, which does not."""
        return (self.transpose + self.flip_x + self.flip_y) % 2 == 1

    def apply(self, values: Tensor) -> Tensor:
        """Applies the orientation to a tensor (..., H, W)."""
        if self.transpose:
            values = values.transpose(-1, -2)
        axes = [axis for axis, flip in ((-1, self.flip_x), (-2, self.flip_y)) if flip]
        return values.flip(axes) if axes else values.contiguous()

    def matrix(self, size: tuple[int, int]) -> Affine:
        """Returns the affine that maps points of an image (H, W) to points of the reoriented image."""
        height, width = size[::-1] if self.transpose else size
        swap = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]) if self.transpose else np.eye(3)
        mirror_x = compose(translation(width, 0), scaling(-1, 1)) if self.flip_x else np.eye(3)
        mirror_y = compose(translation(0, height), scaling(1, -1)) if self.flip_y else np.eye(3)
        return compose(mirror_y, mirror_x, swap)


def upright_turn(matrix: Affine) -> Turn:
    """Returns the turn after which a map only scales and translates.

    The turn is the identity for maps that rotate by an angle other than a multiple of 90 degrees.

    Args:
        matrix: (3, 3) map of the points of the image to be reoriented.
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
    """Applies a turn to the image and targets of an item; `to_source` is updated so that the turn can be undone.

    Args:
        data: item with an image (1, H, W), maps (C, H, W) and boxes (N, 5).
        turn: the orientation to apply.
        keys: keys to transform; missing keys are skipped.
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
