"""Decoders of compressed frames, each a wrapper of one library.

Each takes the frame, the header of its codestream, and its transfer syntax UID, and returns unsigned or signed samples
of shape (rows, columns), or (rows, columns, 3) for color. A decoder raises ImportError if the library is not installed,
NotImplementedError if it does not support such streams, and any exception if the stream is damaged.
"""

from __future__ import annotations

from importlib import import_module
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from .codestream import CodestreamHeader


def decode_by_pillow(frame: bytes, stream: CodestreamHeader, syntax: str) -> NDArray[Any]:
    """Decodes 8-bit JPEG to the components as stored."""
    if stream.bits != 8:
        raise NotImplementedError(f"Pillow decodes 8 bits, not {stream.bits}")
    with Image.open(BytesIO(frame), formats=("JPEG",)) as picture:
        if stream.samples == 3 and stream.color != "RGB":
            picture.draft("YCbCr", picture.size)
        return np.asarray(picture)


def decode_jpeg2000_by_pillow(frame: bytes, stream: CodestreamHeader, syntax: str) -> NDArray[Any]:
    """Decodes JPEG 2000 and HTJ2K, gray up to 16 bits and color up to 8; Pillow's shift to full range is undone."""
    if stream.bits > (16 if stream.samples == 1 else 8):
        raise NotImplementedError(f"Pillow does not decode {stream.samples} samples of {stream.bits} bits")
    if not features.check("jpg_2000"):
        raise ImportError("Pillow was built without OpenJPEG")
    with Image.open(BytesIO(frame), formats=("JPEG2000",)) as picture:
        if picture.mode not in {"L", "I;16", "RGB"}:
            raise ValueError(f"Pillow reads it as mode {picture.mode}")
        shifted = np.asarray(picture)
    samples: NDArray[Any] = shifted >> (8 * shifted.dtype.itemsize - stream.bits)
    if not stream.is_signed:
        return samples
    return (samples - samples.dtype.type(1 << (stream.bits - 1))).view(f"i{samples.dtype.itemsize}")


def decode_by_openjpeg(frame: bytes, stream: CodestreamHeader, syntax: str) -> NDArray[Any]:
    """Decodes JPEG 2000 and HTJ2K of any bit depth."""
    return np.asarray(import_module("openjpeg").decode(frame))


def decode_by_imagecodecs(frame: bytes, stream: CodestreamHeader, syntax: str) -> NDArray[Any]:
    """Decodes JPEG of 8 to 16 bits, including lossless, by libjpeg-turbo 3, which takes a quarter of GDCM's time."""
    decode = import_module("imagecodecs").jpeg8_decode
    if frame.rfind(b"\xff\xd9", frame.find(b"\xff\xda") + 1) < 0:  # the decoder would fill the rest with gray
        raise ValueError("no end of image")
    if stream.samples == 1:
        return np.asarray(decode(frame))
    return np.asarray(
        decode(frame, colorspace="RGB", outcolorspace="RGB")
    )  # equal color spaces: the components as stored


def decode_by_charls(frame: bytes, stream: CodestreamHeader, syntax: str) -> NDArray[Any]:
    """Decodes JPEG-LS by pyjpegls."""
    samples, info = import_module("jpeg_ls").decode_pixel_data(frame)
    flat = np.frombuffer(samples, dtype="u1" if stream.bits <= 8 else "<u2")
    if stream.samples > 1 and info["interleave_mode"] == 0:
        return np.moveaxis(flat.reshape(stream.samples, stream.rows, stream.columns), 0, -1)
    return _shape(flat, stream)


def decode_by_gdcm(frame: bytes, stream: CodestreamHeader, syntax: str) -> NDArray[Any]:
    """Decodes JPEG of 8 to 16 bits, including lossless, and JPEG 2000.

    GDCM is called directly, because pydicom's plugin does not use it for 12-bit JPEG.
    """
    import gdcm

    fragment, fragments = gdcm.Fragment(), gdcm.SequenceOfFragments.New()
    fragment.SetByteStringValue(frame)
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((stream.columns, stream.rows, 1))
    image.SetDataElement(element)
    kind = gdcm.PhotometricInterpretation
    image.SetPhotometricInterpretation(kind(kind.MONOCHROME2 if stream.samples == 1 else kind.RGB))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
    allocated = 8 if stream.bits <= 8 else 16
    image.SetPixelFormat(gdcm.PixelFormat(stream.samples, allocated, stream.bits, stream.bits - 1, stream.is_signed))
    decoded = image.GetBuffer().encode("utf-8", "surrogateescape")  # SWIG returns bytes as text
    return _shape(np.frombuffer(decoded, f"<{'i' if stream.is_signed else 'u'}{allocated // 8}"), stream)


def _shape(flat: NDArray[Any], stream: CodestreamHeader) -> NDArray[Any]:
    """Reshapes pixel-interleaved samples to rows and columns."""
    shape = (stream.rows, stream.columns) if stream.samples == 1 else (stream.rows, stream.columns, stream.samples)
    return flat.reshape(shape)
