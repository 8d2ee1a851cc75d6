"""The pixel data of DICOM Segmentations: packed bits of masks, and compressed fractions."""

# H rows, W columns

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_FRACTIONAL_VALUE = 255
_BLOCK = 1 << 16
"""Pixels that are converted at once."""


@dataclass(frozen=True)
class PixelData:
    """Encoded frames, and the UID of their transfer syntax."""

    content: bytes
    transfer_syntax: str


def set_pixels(dataset: Any, pixels: PixelData) -> None:
    """Sets the pixel data of a dataset, and its transfer syntax."""
    from pydicom.uid import UID

    syntax = UID(pixels.transfer_syntax)
    dataset.PixelData = pixels.content
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = syntax.is_compressed
    dataset.file_meta.TransferSyntaxUID = syntax


def pack_masks(masks: Sequence[NDArray[np.bool_]]) -> PixelData:
    """Packs masks (H, W), 8 pixels per byte and the first pixel in the lowest bit (PS3.5 8.1.1, 8.2).

    Frames are not padded to whole bytes; the data are padded to an even length.
    """
    from pydicom.uid import ExplicitVRLittleEndian

    bits = np.concatenate([np.asarray(mask, dtype=np.bool_).ravel() for mask in masks])
    packed = np.packbits(bits, bitorder="little").tobytes()
    return PixelData(packed + b"\0" * (len(packed) % 2), ExplicitVRLittleEndian)


def encode_fractions(maps: Sequence[NDArray[np.floating[Any]]]) -> PixelData:
    """Encodes maps (H, W) in [0, 1] in steps of 1 / 255, compressed by JPEG-LS Lossless.

    Of the lossless codecs, JPEG-LS is the fastest for smooth maps, and every viewer reads it. Encoders for RLE were
    tried: GDCM's ends the process on some images.
    """
    from jpeg_ls import encode_buffer
    from pydicom.encaps import encapsulate
    from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless

    frames = [to_steps(values) for values in maps]
    try:
        encoded = [bytes(encode_buffer(frame.tobytes(), *frame.shape, 1, 8)) for frame in frames]
        return PixelData(encapsulate(encoded), JPEGLSLossless)
    except RuntimeError:  # the encoder's buffer is too small for an image of a few pixels
        content = b"".join(frame.tobytes() for frame in frames)
        return PixelData(content + b"\0" * (len(content) % 2), ExplicitVRLittleEndian)


def to_steps(values: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Returns values in [0, 1] as the nearest of 256 steps; values outside are clipped, and NaN is 0.

    Example:
        >>> to_steps(np.array([[0.0, 0.5, 1.0, 1.5, np.nan]])).tolist()
        [[0, 128, 255, 255, 0]]
    """
    flat = np.ascontiguousarray(values).reshape(-1)
    steps = np.empty(flat.shape, dtype=np.uint8)
    for start in range(0, len(flat), _BLOCK):  # temporary arrays of a whole radiograph do not fit into the cache
        part = flat[start : start + _BLOCK] * np.float32(MAX_FRACTIONAL_VALUE)
        if not (part.min() >= 0.0 and part.max() <= MAX_FRACTIONAL_VALUE):  # also if NaN occurs
            part = np.clip(np.nan_to_num(part), 0.0, MAX_FRACTIONAL_VALUE)
        part += 0.5
        steps[start : start + _BLOCK] = part
    return steps.reshape(values.shape)
