"""Reads a radiograph from PNG or JPEG."""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from .color import weigh_colors
from .deep_png import is_deep_png, read_deep_png
from .dicom.pixels.codestream import read_jpeg_form
from .errors import BrokenPixelDataError, MultiFrameError, UnreadableFileError, UnsupportedImageError
from .limits import MAX_PIXELS, MAX_SCANS, read_bytes
from .radiograph_meta import make_meta


def read_picture(path: str | Path) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Reads a PNG or JPEG file into the contract of `read_radiograph`.

    Color becomes luminance, and a picture is turned upright as its EXIF orientation says: then the source is the
    upright picture. Transparency shows black: luminance is multiplied by alpha.

    Args:
        path: the file.

    Returns:
        float32 (H, W): 8-bit values over 255, 16-bit ones over 65,535; and metadata.

    Raises:
        FileNotFoundError: no such file.
        UnreadableFileError: the header is broken.
        BrokenPixelDataError: cut short, or of an absurd size.
    """
    with open_picture(path, ("PNG", "JPEG")) as picture:
        try:
            image = _deep_to_unit_range(path, picture) if is_deep(path, picture) else _to_unit_range(picture)
        except Exception as error:  # Pillow raises many kinds on a broken stream
            raise BrokenPixelDataError(path, f"its picture does not decode ({error})", "fetch it again") from error
    return image, make_meta(path, image.shape)


def open_picture(path: str | Path, formats: tuple[str, ...]) -> Image.Image:
    """Opens a picture of sane size; nothing is decoded yet.

    Args:
        path: the file.
        formats: admitted ones, by Pillow's names.

    Raises:
        UnreadableFileError: another format, or a broken header.
        UnsupportedImageError: a JPEG of more than 8 bits, a lossless one, or JPEG-LS.
        MultiFrameError: an animated PNG.
        BrokenPixelDataError: of an absurd size, or of more passes than any picture has.
    """
    data = read_bytes(path)
    if data.startswith(b"\xff\xd8") and data.count(b"\xff\xda") > MAX_SCANS:
        raise BrokenPixelDataError(path, f"it has more than {MAX_SCANS} scans", "export it again")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is in place of Pillow's
            picture = Image.open(BytesIO(data), formats=formats)
    except Image.DecompressionBombError as error:
        raise _too_large(path, "over 178 million pixels") from error
    except Exception as error:  # as above
        _refuse_other_jpeg(path, data)
        raise UnreadableFileError(path, "its picture header does not parse", "export it again") from error
    frames = getattr(picture, "n_frames", 1) if picture.format == "PNG" else 1
    if frames > 1:
        raise MultiFrameError(path, f"it has {frames} frames, and one 2D image is expected", "export one of them")
    if picture.width * picture.height > MAX_PIXELS:
        raise _too_large(path, f"{picture.height} x {picture.width} pixels")
    return picture


def is_deep(path: str | Path, picture: Image.Image) -> bool:
    """Whether Pillow would take 8 of the 16 bits of each channel."""
    return picture.format == "PNG" and picture.mode in {"RGB", "RGBA", "LA"} and is_deep_png(path)


def read_deep(path: str | Path, picture: Image.Image) -> NDArray[np.float32]:
    """The channels (H, W, C) of such a picture, upright, up to 65,535."""
    return read_deep_png(path, int(picture.getexif().get(ExifTags.Base.Orientation, 1)))


def _deep_to_unit_range(path: str | Path, picture: Image.Image) -> NDArray[np.float32]:
    channels = read_deep(path, picture)
    has_alpha = channels.shape[-1] in {2, 4}
    image = weigh_colors(channels, 65535.0) if channels.shape[-1] > 2 else _divide(channels[..., 0], 65535)
    return image * _divide(channels[..., -1], 65535) if has_alpha else image


def _to_unit_range(picture: Image.Image) -> NDArray[np.float32]:
    """Any mode to float32 (H, W) in [0, 1]."""
    picture.draft("L", picture.size)  # of a JPEG: its luminance as it is stored, without the colors
    ImageOps.exif_transpose(picture, in_place=True)
    if picture.mode.startswith("I"):  # 16-bit gray
        values = np.asarray(picture)
        image = _divide(values, 65535)
        transparent = picture.info.get("transparency")
        return image if transparent is None else np.where(values == transparent, np.float32(0.0), image)
    if picture.mode in {"LA", "PA", "RGBA"} or "transparency" in picture.info:
        colors = np.asarray(picture.convert("RGBA"))
        return weigh_colors(colors, 255.0) * _divide(colors[..., 3], 255)
    return _divide(np.asarray(picture if picture.mode == "L" else picture.convert("L")), 255)


def _divide(values: NDArray[Any], full: int) -> NDArray[np.float32]:
    return np.true_divide(values, np.float32(full), dtype=np.float32)


def _refuse_other_jpeg(path: str | Path, data: bytes) -> None:
    """Raises an error that names the kind of JPEG if it is a sound file that Pillow cannot open."""
    try:
        form = read_jpeg_form(data)
    except ValueError:
        return
    raise UnsupportedImageError(
        path,
        f"it is a JPEG of {form.bits} bits or of a lossless kind, and baseline or progressive of 8 bits is expected",
        "convert it to PNG, or to DICOM",
    )


def _too_large(path: str | Path, size: str) -> BrokenPixelDataError:
    return BrokenPixelDataError(path, f"its header says {size}, more than any radiograph has", "split or shrink it")
