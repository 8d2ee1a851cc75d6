"""Pixel data to an array, by the decoder that is quickest and kept best for each transfer syntax."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from .errors import BrokenPixelDataError, MissingDecoderError, MultiFrameError, NoPixelsError

MAX_PIXELS = 2**27
"""Above this a header is taken for nonsense: the largest radiographs (stitched legs, films at 50 um) have half."""

_PLUGINS = {
    "1.2.840.10008.1.2.4.50": ("gdcm", "pillow"),  # JPEG baseline
    "1.2.840.10008.1.2.4.51": ("pylibjpeg", "gdcm", "pillow"),  # JPEG extended
    "1.2.840.10008.1.2.4.80": ("pyjpegls", "gdcm"),  # JPEG-LS
    "1.2.840.10008.1.2.4.81": ("pyjpegls", "gdcm"),
    "1.2.840.10008.1.2.4.90": ("pillow", "pylibjpeg", "gdcm"),  # JPEG 2000: 150 ms against gdcm's 270 for 3 megapixels
    "1.2.840.10008.1.2.4.91": ("pillow", "pylibjpeg", "gdcm"),
}
"""Order in which installed plugins are tried; those not named come after, as pydicom lists them."""

_PACKAGES = {
    "1.2.840.10008.1.2.4.51": "pylibjpeg pylibjpeg-libjpeg",
    "1.2.840.10008.1.2.4.80": "pyjpegls",
    "1.2.840.10008.1.2.4.81": "pyjpegls",
    "1.2.840.10008.1.2.4.201": "pylibjpeg pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.202": "pylibjpeg pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.203": "pylibjpeg pylibjpeg-openjpeg",
}
_JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"


def decode_pixels(path: str | Path, header: Any) -> tuple[NDArray[Any], str]:
    """Decodes the one frame of a DICOM image.

    Args:
        path: for messages.
        header: pydicom Dataset with its pixel data.

    Returns:
        (H, W) or (H, W, 3) of the stored type, and the Photometric Interpretation of the array: decoders turn
        YBR into RGB.

    Raises:
        MultiFrameError: more than one frame.
        NoPixelsError: no pixel data, or no usable size.
        MissingDecoderError: the transfer syntax needs a package that is not installed.
        BrokenPixelDataError: cut short, or no decoder makes sense of it.
    """
    _check_size(path, header)
    try:
        pixels, photometric = _decode(path, header)
    except (MissingDecoderError, MemoryError):
        raise
    except Exception as error:  # decoders raise what they like on a broken stream
        raise BrokenPixelDataError(
            path,
            f"its pixel data ({_syntax_name(header)}) are cut short or damaged",
            "fetch the file again from its archive, or leave it out",
        ) from error
    expected = (int(header.Rows), int(header.Columns))
    if pixels.shape[:2] != expected:
        raise BrokenPixelDataError(
            path, f"its pixel data hold {pixels.shape[:2]} pixels, its header says {expected}", "mend or leave it out"
        )
    return pixels, photometric


def _check_size(path: str | Path, header: Any) -> None:
    """Refuses what is no single frame of sane size, before anything is allocated."""
    frames = int(header.get("NumberOfFrames") or 1)
    if frames > 1:
        raise MultiFrameError(
            path, f"it has {frames} frames, and one 2D image is expected", "export a frame or the synthetic 2D view"
        )
    if not any(keyword in header for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise NoPixelsError(path, "it has no pixel data", "export the object with its pixels, or leave it out")
    rows, columns = int(header.get("Rows") or 0), int(header.get("Columns") or 0)
    if rows < 1 or columns < 1:
        raise NoPixelsError(path, f"its header says {rows} rows x {columns} columns", "mend or leave it out")
    if rows * columns > MAX_PIXELS:
        raise BrokenPixelDataError(
            path,
            f"its header says {rows} rows x {columns} columns, more than the {MAX_PIXELS:,} pixels of any radiograph",
            "check Rows and Columns, or split the image",
        )


def _decode(path: str | Path, header: Any) -> tuple[NDArray[Any], str]:
    """Array and its Photometric Interpretation, on pydicom 3 or 2.4."""
    uid = header.file_meta.TransferSyntaxUID
    if pydicom.__version_info__[0] == "2":
        return _decode_by_pydicom2(path, header)
    from pydicom.pixels import get_decoder

    try:
        decoder = get_decoder(uid)
    except NotImplementedError as error:
        raise _missing_decoder(path, header) from error
    if not decoder.is_available:
        raise _missing_decoder(path, header)
    if not uid.is_encapsulated:
        pixels, meta = decoder.as_array(header, view_only=header.BitsStored == header.BitsAllocated)
        return pixels, str(meta["photometric_interpretation"])
    return _decode_by_plugins(path, header, decoder)


def _decode_by_plugins(path: str | Path, header: Any, decoder: Any) -> tuple[NDArray[Any], str]:
    """Tries the installed plugins in our order; raises the first one's error if all fail."""
    uid = str(header.file_meta.TransferSyntaxUID)
    installed = decoder.available_plugins
    preferred = [plugin for plugin in _PLUGINS.get(uid, ()) if plugin in installed]
    errors: list[Exception] = []
    for plugin in [*preferred, *(plugin for plugin in installed if plugin not in preferred)]:
        try:
            pixels, meta = decoder.as_array(header, decoding_plugin=plugin)
        except Exception as error:  # as above
            errors.append(error)
        else:
            return pixels, str(meta["photometric_interpretation"])
    if uid == _JPEG_EXTENDED and int(header.BitsStored) > 8 and "pylibjpeg" not in installed:
        raise _missing_decoder(path, header) from errors[0]
    raise errors[0]


def _decode_by_pydicom2(path: str | Path, header: Any) -> tuple[NDArray[Any], str]:
    """The older interface, whose handlers choose themselves; it tells a missing one by NotImplementedError."""
    from pydicom import config

    syntax = header.file_meta.TransferSyntaxUID
    handlers = [handler for handler in config.pixel_data_handlers if handler.is_available()]
    if not any(handler.supports_transfer_syntax(syntax) for handler in handlers):
        raise _missing_decoder(path, header)
    if syntax == _JPEG_EXTENDED and int(header.BitsStored) > 8:  # others give noise, and no error
        if not any(handler.HANDLER_NAME == "pylibjpeg" for handler in handlers):
            raise _missing_decoder(path, header)
        header.convert_pixel_data("pylibjpeg")
    pixels = np.asarray(header.pixel_array)
    return pixels, str(header.PhotometricInterpretation)


def _missing_decoder(path: str | Path, header: Any) -> MissingDecoderError:
    uid = str(header.file_meta.TransferSyntaxUID)
    package = _PACKAGES.get(uid, "python-gdcm")
    return MissingDecoderError(
        path, f"no installed decoder reads its transfer syntax {_syntax_name(header)}", f"pip install {package}"
    )


def _syntax_name(header: Any) -> str:
    return str(getattr(header.file_meta.TransferSyntaxUID, "name", header.file_meta.TransferSyntaxUID))
