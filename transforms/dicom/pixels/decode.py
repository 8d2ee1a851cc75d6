"""Pixel data to an array, by the decoder that is quickest and kept best for each transfer syntax."""

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
from .code_stringstream import StreamForm, read_jpeg2000_form, read_jpeg_form
from .fragments import join_fragments
from .image_pixel import PixelForm, check_form
from .native import interpret_bits, unpack_native
from .run_length import decode_run_length

Decoder = Callable[[bytes, StreamForm, str], NDArray[Any]]

NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2")
"""Transfer syntaxes without compression of the pixels; the last one is big endian."""
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
"""The first that is installed and knows such streams decodes."""
_MASKED = {*NATIVE, _RUN_LENGTH, *(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 57, 70))}
"""Syntaxes whose unused bits may hold anything. The others code as many bits as they declare, and no more."""

_MAX_PIXELS_A_BYTE = 256
"""Of JPEG: a block of 64 has 2 bits at least."""


def decode_pixels(path: str | Path, header: Any) -> tuple[NDArray[Any], str]:
    """Decodes the one frame of a DICOM image.

    Args:
        path: for messages.
        header: pydicom Dataset with its pixel data.

    Returns:
        (H, W) or (H, W, 3) integers, unused bits cleared and the sign extended, maybe read-only; and the Photometric
        Interpretation of the array, which JPEG 2000's own color transforms and JPEG's markers change.

    Raises:
        RadiographError: as `check_form`, or one of
            MissingDecoderError: the transfer syntax needs a package that is not installed.
            BrokenPixelDataError: cut short, or no decoder makes sense of it.
    """
    form = check_form(path, header)
    syntax = str(header.file_meta.TransferSyntaxUID)
    try:
        samples, photometric, bits = _decode(path, header, form, syntax)
    except (RadiographError, MemoryError):
        raise
    except EOFError as error:
        raise _broken(path, f"it ends inside its pixel data ({_name(header)})") from error
    except Exception as error:  # decoders raise what they like on a broken stream
        raise _broken(path, f"its pixel data ({_name(header)}) are cut short or damaged") from error
    high_bit = form.high_bit if syntax in NATIVE or syntax == _RUN_LENGTH else None
    return interpret_bits(samples, bits, form.is_signed, high_bit), photometric


def _decode(path: str | Path, header: Any, form: PixelForm, syntax: str) -> tuple[NDArray[Any], str, int]:
    """Samples, their Photometric Interpretation, and how many of their bits count."""
    data = header.PixelData
    if syntax in NATIVE:
        is_words = header["PixelData"].VR == "OW"
        return unpack_native(data, form, syntax != NATIVE[-1], is_words), form.photometric, form.bits_stored
    if syntax == _RUN_LENGTH:
        return decode_run_length(join_fragments(data), form), form.photometric, form.bits_stored
    decoders = _DECODERS.get(syntax)
    if decoders is None:
        raise _missing_decoder(path, header)
    frame = join_fragments(data)
    stream = (read_jpeg2000_form if decoders in (_JPEG_2000, _HTJ2K) else read_jpeg_form)(frame)
    _check_stream(path, stream, form)
    if form.rows * form.columns > len(frame) * _MAX_PIXELS_A_BYTE and syntax in _MASKED:
        raise EOFError(f"{len(frame)} bytes")
    samples = _decode_stream(path, header, frame, stream, decoders)
    bits = form.bits_stored if syntax in _MASKED else stream.bits
    return samples, _photometric(stream, form, is_jpeg2000=decoders in (_JPEG_2000, _HTJ2K)), bits


def _check_stream(path: str | Path, stream: StreamForm, form: PixelForm) -> None:
    """Decoders allocate what the stream says, not what the header says: both have to agree."""
    declared = (stream.rows, stream.columns, stream.samples)
    if declared != (form.rows, form.columns, form.samples) or stream.bits > form.bits_allocated:
        raise BrokenPixelDataError(
            path,
            f"its pixel data hold (rows, columns, samples) {declared} of {stream.bits} bits, its header says "
            f"{(form.rows, form.columns, form.samples)} of {form.bits_allocated} bits",
            "mend or leave it out",
        )


def _decode_stream(
    path: str | Path, header: Any, frame: bytes, stream: StreamForm, decoders: tuple[Decoder, ...]
) -> NDArray[Any]:
    """By the first decoder that is installed and knows such streams.

    A broken one is not given to the next decoder: one that makes something of it would be trusted.
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


def _photometric(stream: StreamForm, form: PixelForm, is_jpeg2000: bool) -> str:
    """Of what the decoders give: JPEG's components as stored, JPEG 2000's own transforms undone."""
    if form.samples == 1:
        return form.photometric
    if is_jpeg2000:
        return "RGB" if form.photometric in {"YBR_RCT", "YBR_ICT"} else form.photometric
    return {"RGB": "RGB", "YBR": "YBR_FULL"}.get(stream.color, form.photometric)


def _missing_decoder(path: str | Path, header: Any) -> MissingDecoderError:
    known = str(header.file_meta.TransferSyntaxUID) in _DECODERS
    return MissingDecoderError(
        path,
        f"no installed decoder reads its transfer syntax {_name(header)}",
        "pip install python-gdcm pyjpegls" if known else "transcode it to a lossless one",
    )


def _broken(path: str | Path, problem: str) -> BrokenPixelDataError:
    return BrokenPixelDataError(path, problem, "fetch the file again from its archive, or leave it out")


def _name(header: Any) -> str:
    uid = header.file_meta.TransferSyntaxUID
    return str(getattr(uid, "name", uid))
