"""Burned-in annotations beside the breast: letters of laterality and view, as on lead markers and stickers."""

from __future__ import annotations

import numpy as np

from mtmedformer_monai.data.array_types import Field, Mask
from mtmedformer_monai.data.synthetic.draw_lines import Curve, draw_curves

LETTERS: dict[str, list[list[tuple[float, float]]]] = {
    "R": [
        [(0, 1), (0, 0), (0.5, 0), (0.7, 0.12), (0.7, 0.38), (0.5, 0.5), (0, 0.5)],
        [(0.35, 0.5), (0.7, 1)],
    ],
    "L": [[(0, 0), (0, 1), (0.65, 1)]],
    "C": [[(0.7, 0.18), (0.5, 0), (0.2, 0), (0, 0.2), (0, 0.8), (0.2, 1), (0.5, 1), (0.7, 0.82)]],
    "M": [[(0, 1), (0, 0), (0.4, 0.6), (0.8, 0), (0.8, 1)]],
    "O": [[(0.2, 0), (0.55, 0), (0.75, 0.2), (0.75, 0.8), (0.55, 1), (0.2, 1), (0, 0.8), (0, 0.2), (0.2, 0)]],
    " ": [],
}
"""Strokes of each letter in a box of height 1, with y pointing down."""

_ADVANCE = 1.1
_SIZE = 0.038


def draw_text(shape: tuple[int, int], text: str, corner: tuple[float, float], height: float) -> Field:
    """Draws text and returns it as (H, W) in [0, 1].

    Args:
        shape: number of rows and columns.
        text: text that consists of `LETTERS`.
        corner: x and y of the upper left corner.
        height: height of the letters in pixels.
    """
    curves = []
    for index, letter in enumerate(text):
        for stroke in LETTERS[letter]:
            points = np.asarray(stroke, dtype=np.float64) * height
            points += (corner[0] + index * _ADVANCE * height, corner[1])
            curves.append(Curve(points, max(0.5, 0.13 * height), 1.0))
    return draw_curves(shape, curves)


def text_box(text: str, height: float, line_share: float = 0.4) -> tuple[int, int]:
    """Returns the number of rows and columns of a text with a margin."""
    margin = line_share * height
    return round(height + 2 * margin), round((len(text) - 1) * _ADVANCE * height + 0.8 * height + 2 * margin)


def find_corner(breast: Mask, size: tuple[int, int], chest_wall_left: bool) -> tuple[int, int] | None:
    """Returns the upper left pixel of a free box opposite the chest wall, above or else below the breast, or None."""
    rows, columns = breast.shape
    gap = max(2, round(0.02 * rows))
    left = columns - size[1] - gap if chest_wall_left else gap
    around = slice(max(0, left - gap), left + size[1] + gap)
    for top in (gap, rows - size[0] - gap):
        taken = breast[max(0, top - gap) : top + size[0] + gap, around].any()
        if left >= 0 and top >= 0 and not taken:
            return top, left
    return None


def burn_in_annotation(image: Field, breast: Mask, text: str, chest_wall_left: bool, is_sticker: bool) -> Field:
    """Burns an annotation into the image beside the breast, if there is enough space.

    Args:
        image: (H, W) in [0, 1].
        breast: mask of the breast (H, W), which is not covered.
        text: text such as 'R MLO'.
        chest_wall_left: whether the chest wall is on the left; the annotation is placed on the opposite side.
        is_sticker: whether to draw dark letters on a bright sticker, as on film, instead of bright letters.
    """
    height = max(5.0, _SIZE * image.shape[0])
    size = text_box(text, height)
    corner = find_corner(breast, size, chest_wall_left)
    if corner is None:
        return image
    top, left = corner
    drawn = draw_text(size, text, (0.4 * height, 0.4 * height), height)
    labeled = image.copy()
    place = labeled[top : top + size[0], left : left + size[1]]
    place[...] = 0.96 - 0.75 * drawn if is_sticker else np.maximum(place, drawn)
    return labeled
