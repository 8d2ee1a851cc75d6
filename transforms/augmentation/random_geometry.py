"""`RandGeometryd`: one random affine transform of the image, its masks and its boxes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from monai.config import KeysCollection

from mtmedformer_monai.keys import IMAGE
from mtmedformer_monai.transforms.geometry.affine import Affine, compose, invert, resample, scaling, translation
from mtmedformer_monai.transforms.geometry.canvas import (
    image_of,
    is_boxes,
    is_map,
    move_boxes,
    move_map,
    with_values,
)

from .random_transform import RandomTransformd


@dataclass(frozen=True)
class Motion:
    """A similarity transform about the center of the image.

    Attributes:
        rotation_degrees: rotation, clockwise as displayed.
        scale: scale factor; above 1 enlarges.
        shift: shift to the right and downward, as fractions of the width and height.
        flip: whether to flip left and right.
    """

    rotation_degrees: float = 0.0
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    flip: bool = False

    def matrix(self, size: tuple[int, int]) -> Affine:
        """Returns the affine that maps old pixels to new pixels on a canvas of size (H, W)."""
        angle = np.deg2rad(self.rotation_degrees)
        turn = np.eye(3)
        turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        x, y = size[1] / 2.0, size[0] / 2.0
        moved = translation(x + self.shift[0] * size[1], y + self.shift[1] * size[0])
        return compose(moved, turn, scaling(-self.scale if self.flip else self.scale, self.scale), translation(-x, -y))


class RandGeometryd(RandomTransformd):
    """Rotates, scales, shifts and flips items randomly; `to_source` is composed with the inverse.

    Images are resampled bilinearly and masks by nearest neighbor. A box becomes the axis-aligned bounding box of its
    rotated corners. Pixels from outside the canvas are 0 in images and masks.

    Args:
        keys: keys of the image and of the targets (task names); missing targets are skipped.
        prob: probability that an item is transformed.
        max_rotation_degrees: 10 draws between -10 and 10.
        max_scale: 0.1 draws between 1 / 1.1 and 1.1.
        max_translation: largest shift in either direction, as a fraction of the side.
        flip_prob: probability of a left-right flip; use 0 if the side matters, as for the heart.
        image_key: key of the image.
    """

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.9,
        max_rotation_degrees: float = 10.0,
        max_scale: float = 0.1,
        max_translation: float = 0.05,
        flip_prob: float = 0.0,
        image_key: str = IMAGE,
    ) -> None:
        super().__init__(keys, prob, allow_missing_keys=True)
        if min(max_rotation_degrees, max_scale, max_translation, flip_prob) < 0:
            raise ValueError("RandGeometryd expects limits of 0 or more; each is drawn in both directions.")
        self.limits = (max_rotation_degrees, float(np.log1p(max_scale)), max_translation)
        self.flip_prob = flip_prob
        self.image_key = image_key
        self.motion = Motion()

    def draw(self, item: Mapping[Hashable, Any]) -> None:
        """Draws the motion."""
        angle, log_scale, shift_x, shift_y = self.R.uniform(-1.0, 1.0, size=4)
        flip = bool(self.R.rand() < self.flip_prob)
        rotation, scale, shift = self.limits
        self.motion = Motion(
            rotation * angle, float(np.exp(scale * log_scale)), (shift * shift_x, shift * shift_y), flip
        )

    def apply(self, item: dict[Hashable, Any]) -> dict[Hashable, Any]:
        """Applies the drawn motion to the item."""
        return move_item(item, self.motion, self.keys, self.image_key)


def move_item(
    data: Mapping[Hashable, Any], motion: Motion, keys: tuple[Hashable, ...], image_key: str = IMAGE
) -> dict[Hashable, Any]:
    """Applies one motion to the image and targets of an item; the size of the canvas is unchanged.

    Args:
        data: item with an image (1, H, W), maps (C, H, W) and boxes (N, 5).
        motion: the motion to apply.
        keys: keys to transform; missing keys are skipped.
        image_key: key of the image.
    """
    item = dict(data)
    image = image_of(item, image_key)
    size = (int(image.shape[-2]), int(image.shape[-1]))
    to_new = motion.matrix(size)
    to_old = invert(to_new)
    for key in keys:
        value = item.get(key)
        if key == image_key:
            item[key] = with_values(image, resample(image.as_tensor(), to_old, size), to_old)
        elif is_map(value):
            item[key] = move_map(value, to_new, lambda values: resample(values, to_old, size, mode="nearest"))
        elif is_boxes(value):
            item[key] = move_boxes(value, to_new, size)
    return item
