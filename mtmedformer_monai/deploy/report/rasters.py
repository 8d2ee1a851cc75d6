"""Encodes pictures, masks and maps as small files for a web page."""

# H, W source pixels; h, w pixels of the page's picture

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mtmedformer_monai.visualization.erode import erode

PICTURE_SIDE = 1100
"""Longer side of a picture in pixels; a larger source is reduced, a smaller one is kept."""

HEAT_SIDE = 480
"""Longer side of a heat map, which is smooth and is enlarged by the browser."""

THUMBNAIL_SIDE = 224
OUTLINE_WIDTH = 1 / 320
"""Width of an outline as a fraction of the picture's longer side."""

PNG_LEVEL = 4
"""zlib level; masks and maps of few colors are hardly larger than at level 9, which takes several times as long."""

FILL_ALPHA, OUTLINE_ALPHA, HEAT_ALPHA = 46, 255, 190
FAINTEST = 0.08
"""Values of a heat map below this fraction of its range are transparent."""


def fit(shape: tuple[int, int], longest: int) -> tuple[int, int]:
    """Returns (h, w) of an image (H, W) reduced to a longer side; each is 1 or more.

    Example:
        >>> fit((3000, 1500), 1000), fit((30, 15), 1000)
        ((1000, 500), (30, 15))
    """
    scale = min(1.0, longest / max(shape))
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def encode_picture(picture: NDArray[np.float32], longest: int) -> bytes:
    """Encodes an image (H, W) in [0, 1] as JPEG of at most a longer side."""
    return _encoded(Image.fromarray(_resize(_to_byte(_finite(picture)), longest), "L"), "JPEG", quality=86)


def encode_mask(mask: NDArray[np.bool_], color: str) -> bytes:
    """Encodes a mask (H, W) as PNG: a translucent area with an opaque outline, transparent elsewhere."""
    inside = _resize(mask.astype(np.uint8) * np.uint8(255), PICTURE_SIDE) >= 128
    width = max(1, round(max(inside.shape) * OUTLINE_WIDTH))
    core = erode(inside, width)
    indices = np.where(inside, np.where(core, 1, 2), 0).astype(np.uint8)
    rgb = [int(color[start : start + 2], 16) for start in (1, 3, 5)]
    return _encode_indexed(indices, [*rgb, *rgb, *rgb], [0, FILL_ALPHA, OUTLINE_ALPHA])


def encode_heat(values: NDArray[np.float32], highest: float, colormap: str) -> bytes:
    """Encodes a map (H, W) as PNG in a Matplotlib colormap, more opaque the higher the value.

    Args:
        values: float (H, W); NaN counts as 0.
        highest: value of the last color, above 0.
        colormap: name of a Matplotlib colormap.
    """
    indices = _to_byte(np.asarray(_resize(_finite(values), HEAT_SIDE) / highest, dtype=np.float32))
    level = np.linspace(0.0, 1.0, 256)
    alpha = np.clip((level - FAINTEST) / 0.4, 0.0, 1.0) * HEAT_ALPHA
    return _encode_indexed(indices, palette(colormap).flatten().tolist(), alpha.astype(int).tolist())


def palette(colormap: str) -> NDArray[np.uint8]:
    """Returns 256 colors (256, 3) of a Matplotlib colormap, without its darkest part."""
    from matplotlib import colormaps  # takes 0.3 s

    colors = np.asarray(colormaps[colormap](np.linspace(0.15, 1.0, 256)))[:, :3]
    return (colors * 255).round().astype(np.uint8)


def _finite(values: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Returns float32 values with 0 in place of NaN; without a copy in the usual case."""
    single = values.astype(np.float32, copy=False)
    return single if np.isfinite(single.sum()) else np.nan_to_num(single)


def _resize(values: NDArray[Any], longest: int) -> NDArray[Any]:
    """Reduces uint8 or float32 (H, W) by area."""
    height, width = fit((values.shape[0], values.shape[1]), longest)
    if (height, width) == values.shape:
        return values
    return np.asarray(Image.fromarray(values).resize((width, height), Image.Resampling.BOX))


def _to_byte(values: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    scaled = np.clip(values, 0.0, 1.0)
    scaled *= 255.0
    scaled += 0.5
    return scaled.astype(np.uint8)


def _encode_indexed(indices: NDArray[np.uint8], colors: list[int], alpha: list[int]) -> bytes:
    image = Image.fromarray(indices, "P")
    image.putpalette(colors)
    return _encoded(image, "PNG", compress_level=PNG_LEVEL, transparency=bytes(alpha))


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
