"""Draws findings onto an image with Pillow, many times faster than the figures of `overlay.py`."""

# H rows, W columns

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mtmedformer_monai.io.atomic_files import write_atomically
from mtmedformer_monai.keys import NOTICE

from .erode import erode
from .palette import color_of

LONGEST_SIDE = 1024
"""Maximum side of the drawn image in pixels; larger images are downsampled."""

BOX_COLOR = "#F0E442"

_FILL = 0.15
"""Opacity of the masks' interior."""

_ENCODING: dict[str, dict[str, Any]] = {
    ".png": {"format": "PNG", "compress_level": 2},  # noise compresses little better at the default level 6
    ".jpg": {"format": "JPEG", "quality": 90, "subsampling": 0},  # a tenth of the time, a fifth of the size
}

_PANEL, _LINE, _MARGIN, _FONT_SIZE = 300, 20, 12, 14


def draw_findings(
    picture: NDArray[Any],
    masks: Sequence[tuple[str, NDArray[np.bool_]]],
    boxes: Sequence[tuple[Sequence[float], str]],
    lines: Sequence[str],
    path: str | Path,
) -> None:
    """Writes a picture of the image with masks and boxes; beside it, the legend and lines of text.

    Args:
        picture: float (H, W) in [0, 1], or uint8.
        masks: names and masks, bool (H, W).
        boxes: x1, y1, x2, y2 in pixel edges, and the label of each box.
        lines: text such as class probabilities.
        path: file to write, `.png` or `.jpg`.
    """
    encoding = _ENCODING[Path(path).suffix]
    rows, columns = picture.shape
    scale = min(1.0, LONGEST_SIDE / max(rows, columns))
    size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    steps = (
        picture if picture.dtype == np.uint8 else np.asarray(np.clip(picture, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    )
    image = Image.fromarray(steps).resize(size, Image.Resampling.BOX, reducing_gap=2.0).convert("RGB")
    for index, (_, mask) in enumerate(masks):
        _paint(image, _shrink(mask, size), color_of(index))
    _draw_boxes(image, boxes, (size[0] / columns, size[1] / rows))
    page = _with_text(image, [(name, color_of(index)) for index, (name, _) in enumerate(masks)], lines)
    write_atomically(path, lambda file: page.save(file, **encoding))


def _shrink(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Returns the pixels of which at least half belong to the mask, or else the pixels with the largest share of it."""
    if (mask.shape[1], mask.shape[0]) == size:
        return mask
    values = Image.fromarray(np.uint8(mask) * 255).resize(size, Image.Resampling.BOX, reducing_gap=2.0)
    shrunk = np.asarray(values) >= 128
    if shrunk.any() or not mask.any():
        return shrunk
    shares = np.asarray(Image.fromarray(np.float32(mask)).resize(size, Image.Resampling.BOX))
    return np.asarray(shares == shares.max())


def _paint(image: Image.Image, mask: NDArray[np.bool_], color: str) -> None:
    """Fills a mask and draws its contour, two pixels wide, in place."""
    alpha = np.where(erode(mask, 2), np.uint8(round(255 * _FILL)), mask.view(np.uint8) * np.uint8(255))
    image.paste(color, mask=Image.fromarray(alpha))


def _draw_boxes(image: Image.Image, boxes: Sequence[tuple[Sequence[float], str]], scale: tuple[float, float]) -> None:
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(_FONT_SIZE)
    for (x1, y1, x2, y2), label in boxes:
        left, top = x1 * scale[0], y1 * scale[1]
        draw.rectangle(
            (left, top, max(left, x2 * scale[0] - 1), max(top, y2 * scale[1] - 1)), outline=BOX_COLOR, width=2
        )
        fitting = max(0.0, min(left, image.width - draw.textlength(label, font=font) - 1))
        place = (fitting, max(0.0, top - _LINE))
        draw.rectangle(draw.textbbox(place, label, font=font), fill="black")
        draw.text(place, label, fill=BOX_COLOR, font=font)


def _with_text(image: Image.Image, legend: Sequence[tuple[str, str]], lines: Sequence[str]) -> Image.Image:
    """Returns the image with the notice above it, and legend and lines on its right."""
    font = ImageFont.load_default(_FONT_SIZE)
    lines = [part for line in lines for part in _wrap(line, font)]
    height = max(image.height, _LINE * (len(legend) + len(lines)) + _MARGIN)
    width = max(image.width + _PANEL, round(font.getlength(NOTICE)) + 2 * _MARGIN)
    page = Image.new("RGB", (width, height + _LINE + _MARGIN), "black")
    page.paste(image, (0, _LINE + _MARGIN))
    draw = ImageDraw.Draw(page)
    draw.text((_MARGIN, _MARGIN // 2), NOTICE, fill="white", font=font)
    left, top = image.width + _MARGIN, _LINE + _MARGIN
    for number, (name, color) in enumerate(legend):
        row = top + _LINE * number
        draw.rectangle((left, row + 4, left + 10, row + 14), fill=color)
        draw.text((left + 18, row), name, fill="white", font=font)
    for number, line in enumerate(lines, start=len(legend)):
        draw.text((left, top + _LINE * number), line, fill="white", font=font)
    return page


def _wrap(line: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    """Returns a line as lines that fit into the panel, broken at spaces and indented from the second on."""
    wrapped = [""]
    for word in re.split("(?<= )", line):
        if wrapped[-1].strip() and font.getlength(wrapped[-1] + word.rstrip()) > _PANEL - 2 * _MARGIN:
            wrapped.append("    ")
        wrapped[-1] += word
    return wrapped
