"""Reads a radiograph from PNG or JPEG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from .decode import MAX_PIXELS
from .errors import BrokenPixelDataError, UnreadableFileError
from .radiograph_meta import make_meta


def read_picture(path: str | Path) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Reads a PNG or JPEG file into the contract of `read_radiograph`.

    Color becomes luminance, transparency shows black, and a JPEG is turned upright as its EXIF orientation says: then
    the source is the upright picture.

    Args:
        path: the file.

    Returns:
        float32 (H, W): 8-bit values over 255, 16-bit ones over 65,535; and metadata.

    Raises:
        UnreadableFileError: the header is broken.
        BrokenPixelDataError: cut short, or of an absurd size.
    """
    try:
        opened = Image.open(path, formats=("PNG", "JPEG"))
    except Image.DecompressionBombError as error:
        raise _too_large(path, "over 178 million pixels") from error
    except (SyntaxError, ValueError, UnidentifiedImageError) as error:
        raise UnreadableFileError(path, "its picture header does not parse", "export it again") from error
    with opened:
        if opened.width * opened.height > MAX_PIXELS:
            raise _too_large(path, f"{opened.height} x {opened.width} pixels")
        try:
            image = _to_unit_range(ImageOps.exif_transpose(opened))
        except (OSError, SyntaxError, ValueError, EOFError) as error:
            raise BrokenPixelDataError(path, f"its picture does not decode ({error})", "fetch it again") from error
    return image, make_meta(path, image.shape)


def _to_unit_range(picture: Image.Image) -> NDArray[np.float32]:
    """Any mode to float32 (H, W) in [0, 1]."""
    if picture.mode.startswith("I"):  # 16-bit gray
        return np.asarray(picture).astype(np.float32) / np.float32(65535)
    if picture.mode in {"LA", "PA", "RGBA"} or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        black = Image.new("RGBA", picture.size, (0, 0, 0, 255))
        picture = Image.alpha_composite(black, picture).convert("RGB")
    return np.asarray(picture.convert("L")).astype(np.float32) / np.float32(255)


def _too_large(path: str | Path, size: str) -> BrokenPixelDataError:
    return BrokenPixelDataError(path, f"its header says {size}, more than any radiograph has", "split or shrink it")
