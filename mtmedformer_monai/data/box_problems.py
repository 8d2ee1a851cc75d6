"""Checks the boxes of a datalist item."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

FORM = "[x1, y1, x2, y2] in pixels of the image"


def box_problems(
    boxes: Mapping[str, Sequence[Any]], size: tuple[int, int] | None, classes: Collection[str] | None = None
) -> Iterator[str]:
    """Yields a message for each malformed, inverted or out-of-bounds box, and for each unknown class.

    Args:
        boxes: {class: [[x1, y1, x2, y2], ...]}, half-open intervals.
        size: (H, W) of the image; None if unknown.
        classes: names of the valid classes; None accepts any name.
    """
    for name, listed in boxes.items():
        if classes is not None and name not in classes:
            yield f"boxes of {name!r} are none of the classes {sorted(classes)}; rename or remove them."
        if listed is not None and not isinstance(listed, (list, tuple)):
            yield f"boxes of {name!r} expect a list of {FORM}, got {listed!r}."
            continue
        for box in listed or []:
            text = _problem(box, size)
            if text:
                yield f"a box of {name!r} {text}"


def _problem(box: Any, size: tuple[int, int] | None) -> str:
    if not isinstance(box, (list, tuple)) or len(box) != 4 or not all(map(_is_number, box)):
        return f"expects 4 numbers {FORM}, got {box!r}; fix or remove it."
    x1, y1, x2, y2 = box
    if x2 <= x1 or y2 <= y1:
        return f"expects x1 < x2 and y1 < y2, got {box!r}; give corners {FORM}, not width and height."
    if size is not None and not (x1 >= 0 and y1 >= 0 and x2 <= size[1] and y2 <= size[0]):
        return f"exceeds the image of {size[1]} x {size[0]} columns x rows: {box!r}; clip it, or scale it to the image."
    return ""


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
