"""Decodes pixel data to an array, using the fastest well-maintained decoder for each transfer syntax."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mtmedformer_monai.transforms.errors import BrokenPixelDataError, MissingDecoderError, RadiographError

from .codecs import (
    decode_by_charls,
    decode_by_gdcm,
    decode_by_imagecodecs,
    decode_by_openjpeg,
    decode_by_pillow,
    decode_jpeg2000_by_pillow,
)
from .codestream import CodestreamHeader, read_jpeg2000_header, read_jpeg_header
from .fragments import is_encapsulated, join_fragments, name_stream
from .image_pixel import ContradictionError, ImagePixel, read_image_pixel
from .native import clip_overshoot, interpret_bits, unpack_native
from .run_length import decode_run_length

Decoder = Callable[[bytes, CodestreamHeader, str], NDArray[Any]]

NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2")
"""Transfer syntaxes with uncompressed pixels; the last one is big-endian."""
_RUN_LENGTH = "1.2.840.10008.1.2.5"
_JPEG: tuple[Decoder, ...] = (decode_by_pillow, decode_by_imagecodecs, decode_by_gdcm)
_JPEG_LOSSLESS: tuple[Decoder, ...] = (decode_by_imagecodecs, decode_by_gdcm)
_JPEG_LS: tuple[Decoder, ...] = (decode_by_charls,)
_JPEG_2000: tuple[Decoder, ...] = (decode_jpeg2000_by_pillow, decode_by_openjpeg, decode_by_gdcm)
_HTJ2K: tuple[Decoder, ...] = (decode_jpeg2000_by_pillow, decode_by_openjpeg)
_DECODERS = {
    "1.2.840.10008.1.2.4.50": _JPEG,  # baseline
    "1.2.840.10008.1.2.4.51": _JPEG,  # extended: 8 or 12 bits
    "1.2.840.10008.1.2.4.57": _JPEG_LOSSLESS,  # process 14
    "1.2.840.10008.1.2.4.70": _JPEG_LOSSLESS,  # its selection value 1
    "1.2.840.10008.1.2.4.80": _JPEG_LS,
    "1.2.840.10008.1.2.4.81": _JPEG_LS,  # near-lossless
    "1.2.840.10008.1.2.4.90": _JPEG_2000,
    "1.2.840.10008.1.2.4.91": _JPEG_2000,
    "1.2.840.10008.1.2.4.201": _HTJ2K,
    "1.2.840.10008.1.2.4.202": _HTJ2K,
    "1.2.840.10008.1.2.4.203": _HTJ2K,
}
"""Decoders by transfer syntax; the first one that is installed and supports the stream is used."""
_STREAMS = {_JPEG: "JPEG", _JPEG_LOSSLESS: "JPEG", _JPEG_LS: "JPEG", _JPEG_2000: "JPEG 2000", _HTJ2K: "JPEG 2000"}
"""Names of the streams, as returned by `name_stream`, by their decoders."""
_LOSSY = {f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 81, 91, 203)}
"""Lossy transfer syntaxes, whose decoded values may slightly exceed the range of the encoded ones."""

_MAX_PIXELS_A_BYTE = 256
"""Maximum number of JPEG pixels per byte, because each block of 64 pixels takes at least 2 bits."""


def decode_pixels(path: str | Path, header: Any) -> tuple[NDArray[Any], str]:
    """Decodes the pixel data of a single-frame DICOM image.

    Args:
        path: the file, for messages.
        header: pydicom Dataset with its pixel data.

    Returns:
        The pixels, integers (H, W) or (H, W, 3) with unused bits cleared and the sign extended, possibly read-only; and
        the Photometric Interpretation of the array. It can differ from that of the header because of the color
        transforms of JPEG 2000 and the markers of JPEG.

    Raises:
        RadiographError: see `read_image_pixel`; in addition,
            MissingDecoderError: the transfer syntax needs a package that is not installed.
            BrokenPixelDataError: the pixel data are truncated, damaged, or inconsistent with the header.
    """
    image_pixel = read_image_pixel(path, header)
    syntax = str(header.file_meta.TransferSyntaxUID)
    try:
        if syntax in NATIVE:
            return _unpack(header, image_pixel, syntax), image_pixel.photometric
        return _decode(path, header, image_pixel, syntax)
    except (RadiographError, MemoryError):
        raise
    except ContradictionError as error:
        raise BrokenPixelDataError(
            path, f"its pixel data ({_name(header)}) hold {error}", "correct its header, or fetch the file again"
        ) from error
    except EOFError as error:
        problem = f"it ends inside its pixel data ({_name(header)}){f': {error}' if error.args else ''}"
        raise _broken(path, problem) from error
    except Exception as error:  # decoders raise many exception types for damaged streams
        raise _broken(path, f"its pixel data ({_name(header)}) are cut short or damaged") from error


def _unpack(header: Any, image_pixel: ImagePixel, syntax: str) -> NDArray[Any]:
    """Returns the values of uncompressed pixel data."""
    element = header["PixelData"]
    if getattr(element, "is_undefined_length", False) or is_encapsulated(element.value):
        raise ContradictionError("encapsulated items, but its transfer syntax is uncompressed")
    if _is_stream(element.value, image_pixel):
        raise ContradictionError("a compressed stream, but its transfer syntax is uncompressed")
    samples = unpack_native(element.value, image_pixel, syntax != NATIVE[-1], is_words=element.VR == "OW")
    return interpret_bits(samples, image_pixel.bits_stored, image_pixel.is_signed, image_pixel.high_bit)


def _is_stream(data: bytes, image_pixel: ImagePixel) -> bool:
    """Returns whether a value is a raw JPEG or JPEG 2000 codestream of the size in the header."""
    kind = name_stream(data)
    if kind not in {"JPEG", "JPEG 2000"}:
        return False
    try:
        stream = read_jpeg_header(data) if kind == "JPEG" else read_jpeg2000_header(data)
    except ValueError:
        return False
    return (stream.rows, stream.columns) == (image_pixel.rows, image_pixel.columns)


def _decode(path: str | Path, header: Any, image_pixel: ImagePixel, syntax: str) -> tuple[NDArray[Any], str]:
    """Returns the values of compressed pixel data and their Photometric Interpretation."""
    if syntax == _RUN_LENGTH:
        samples = decode_run_length(_join(header, "RLE"), image_pixel)
        return interpret_bits(
            samples, image_pixel.bits_stored, image_pixel.is_signed, image_pixel.high_bit
        ), image_pixel.photometric
    decoders = _DECODERS.get(syntax)
    if decoders is None:
        raise _missing_decoder(path, header)
    frame, is_jpeg2000 = _join(header, _STREAMS[decoders]), decoders in (_JPEG_2000, _HTJ2K)
    stream = (read_jpeg2000_header if is_jpeg2000 else read_jpeg_header)(frame)
    _check_stream(path, stream, image_pixel)
    is_jpeg = decoders in (_JPEG, _JPEG_LOSSLESS)
    if is_jpeg and image_pixel.rows * image_pixel.columns > len(frame) * _MAX_PIXELS_A_BYTE:
        raise EOFError
    samples = _decode_stream(path, header, frame, stream, decoders)
    if syntax in _LOSSY and stream.is_signed == image_pixel.is_signed and stream.bits > image_pixel.bits_stored:
        samples = clip_overshoot(samples, image_pixel.bits_stored)
    return _interpret(samples, stream, image_pixel, is_jpeg), _photometric(stream, image_pixel, is_jpeg2000)


def _join(header: Any, kind: str) -> bytes:
    """Returns the codestream of the frame, after checking that it matches the transfer syntax."""
    data = header.PixelData
    if not is_encapsulated(data) and len(data) > 8:
        raise ContradictionError("something other than encapsulated items, but its transfer syntax is compressed")
    frame = join_fragments(data)
    found = name_stream(frame)
    if found and found != kind:
        raise ContradictionError(f"a {found} stream")
    return frame


def _interpret(samples: NDArray[Any], stream: CodestreamHeader, image_pixel: ImagePixel, is_jpeg: bool) -> NDArray[Any]:
    """Converts the samples of a codestream to values (PS3.5 8.1.1, 8.2).

    A codestream may contain whole words, in which the bits above Bits Stored hold an old overlay or lack the sign
    extension, or only the stored bits, which are then right-aligned regardless of High Bit. JPEG samples are unsigned,
    so the position of the sign bit comes from the header even if fewer bits are coded than stored. In JPEG-LS and JPEG
    2000, the sign is the top coded bit.
    """
    bits = image_pixel.bits_stored if is_jpeg else min(image_pixel.bits_stored, stream.bits)
    high_bit = image_pixel.high_bit if stream.bits > image_pixel.high_bit else None
    return interpret_bits(samples, bits, image_pixel.is_signed, high_bit)


def _check_stream(path: str | Path, stream: CodestreamHeader, image_pixel: ImagePixel) -> None:
    """Checks that the codestream and the header agree, because decoders allocate memory as the codestream declares."""
    declared = (stream.rows, stream.columns, stream.samples)
    if (
        declared != (image_pixel.rows, image_pixel.columns, image_pixel.samples)
        or stream.bits > image_pixel.bits_allocated
    ):
        raise BrokenPixelDataError(
            path,
            f"its pixel data hold (rows, columns, samples) {declared} of {stream.bits} bits, its header says "
            f"{(image_pixel.rows, image_pixel.columns, image_pixel.samples)} of {image_pixel.bits_allocated} bits",
            "correct the file or exclude it",
        )


def _decode_stream(
    path: str | Path, header: Any, frame: bytes, stream: CodestreamHeader, decoders: tuple[Decoder, ...]
) -> NDArray[Any]:
    """Decodes a codestream by the first decoder that is installed and supports it.

    If a decoder fails, no other decoder is tried, because one that tolerates damaged data would return wrong pixels.
    """
    shape = (stream.rows, stream.columns) if stream.samples == 1 else (stream.rows, stream.columns, stream.samples)
    for decoder in decoders:
        try:
            samples = decoder(frame, stream, str(header.file_meta.TransferSyntaxUID))
        except (ImportError, NotImplementedError):
            continue
        if samples.shape != shape or samples.dtype.kind not in "iu" or samples.dtype.itemsize * 8 < stream.bits:
            raise ValueError(f"{samples.shape} of {samples.dtype}")
        return samples
    raise _missing_decoder(path, header)


def _photometric(stream: CodestreamHeader, image_pixel: ImagePixel, is_jpeg2000: bool) -> str:
    """Returns the Photometric Interpretation of decoded pixels: JPEG as stored, JPEG 2000 with its transform undone."""
    if image_pixel.samples == 1:
        return image_pixel.photometric
    if is_jpeg2000:
        return "RGB" if image_pixel.photometric in {"YBR_RCT", "YBR_ICT"} else image_pixel.photometric
    return {"RGB": "RGB", "YBR": "YBR_FULL"}.get(stream.color, image_pixel.photometric)


def _missing_decoder(path: str | Path, header: Any) -> MissingDecoderError:
    known = str(header.file_meta.TransferSyntaxUID) in _DECODERS
    return MissingDecoderError(
        path,
        f"no installed decoder reads its transfer syntax {_name(header)}",
        "pip install python-gdcm pyjpegls" if known else "transcode it to a lossless one",
    )


def _broken(path: str | Path, problem: str) -> BrokenPixelDataError:
    return BrokenPixelDataError(path, problem, "fetch the file again from its archive, or exclude it")


def _name(header: Any) -> str:
    uid = header.file_meta.TransferSyntaxUID
    return str(getattr(uid, "name", uid))
