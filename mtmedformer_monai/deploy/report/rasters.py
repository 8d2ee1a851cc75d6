"""Encodes pictures, masks and maps as small files for a web page."""

# H, W source pixels; h, w pixels of the page's picture

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mtmedformer_monai.deploy.small_maps import DRAWING_SIDE, reduce, to_steps
from mtmedformer_monai.visualization.erode import erode

HEAT_SIDE = 480
"""Longer side of a heat map, which is smooth and is enlarged by the browser."""

THUMBNAIL_SIDE = 224
OUTLINE_WIDTH = 1 / 320
"""Width of an outline as a fraction of the picture's longer side."""

PNG_LEVEL = 1
"""zlib level; maps are a quarter larger than at level 9, which takes ten times as long."""

FILL_ALPHA, OUTLINE_ALPHA, HEAT_ALPHA = 46, 255, 190
FAINTEST = 0.08
"""Values of a heat map below this fraction of its range are transparent."""


def encode_picture(picture: NDArray[np.uint8], longest: int = DRAWING_SIDE) -> bytes:
    """Encodes an image uint8 (h, w) as JPEG of at most a longer side."""
    return _encoded(Image.fromarray(reduce(picture, longest), "L"), "JPEG", quality=86)


def encode_mask(mask: NDArray[np.bool_], color: str) -> bytes:
    """Encodes a mask (h, w) as PNG: a translucent area with an opaque outline, transparent elsewhere."""
    width = max(1, round(max(mask.shape) * OUTLINE_WIDTH))
    indices = np.where(erode(mask, width), np.uint8(1), mask.view(np.uint8) * np.uint8(2))
    rgb = [int(color[start : start + 2], 16) for start in (1, 3, 5)]
    return _encode_indexed(indices, [*rgb, *rgb, *rgb], [0, FILL_ALPHA, OUTLINE_ALPHA])


def encode_heat(values: NDArray[Any], highest: float, colormap: str) -> bytes:
    """Encodes a map (H, W) as PNG in a Matplotlib colormap, more opaque the higher the value.

    Args:
        values: float (H, W), of which NaN counts as 0; or uint8, in 255 steps up to the highest value.
        highest: value of the last color, above 0.
        colormap: name of a Matplotlib colormap.
    """
    if values.dtype == np.uint8:
        indices = reduce(values, HEAT_SIDE)
    else:
        indices = to_steps(np.asarray(reduce(_finite(values), HEAT_SIDE) / highest, dtype=np.float32))
    level = np.linspace(0.0, 1.0, 256)
    alpha = np.clip((level - FAINTEST) / 0.4, 0.0, 1.0) * HEAT_ALPHA
    return _encode_indexed(indices, palette(colormap).flatten().tolist(), alpha.astype(int).tolist())


@lru_cache(maxsize=8)
def palette(colormap: str) -> NDArray[np.uint8]:
    """Returns 256 colors (256, 3) of a Matplotlib colormap, without its darkest part."""
    from matplotlib import colormaps  # takes 0.3 s

    colors = np.asarray(colormaps[colormap](np.linspace(0.15, 1.0, 256)))[:, :3]
    return (colors * 255).round().astype(np.uint8)


def _finite(values: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Returns float32 values with 0 in place of NaN; without a copy in the usual case."""
    single = values.astype(np.float32, copy=False)
    return single if np.isfinite(single.sum()) else np.nan_to_num(single)


def _encode_indexed(indices: NDArray[np.uint8], colors: list[int], alpha: list[int]) -> bytes:
    image = Image.fromarray(indices, "P")
    image.putpalette(colors)
    return _encoded(image, "PNG", compress_level=PNG_LEVEL, transparency=bytes(alpha))


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
