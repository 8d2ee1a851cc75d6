"""The pixel data of DICOM Segmentations: packed bits of masks, and compressed fractions."""

# H rows, W columns

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtmedformer_monai.deploy.small_maps import to_steps

MAX_FRACTIONAL_VALUE = 255


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


def encode_fractions(maps: Sequence[NDArray[Any]]) -> PixelData:
    """Encodes maps (H, W) in [0, 1], or uint8 in steps of 1 / 255, compressed by JPEG-LS Lossless.

    Of the lossless codecs, JPEG-LS is the fastest for smooth maps, and every viewer reads it. Encoders for RLE were
    tried: GDCM's ends the process on some images.
    """
    from jpeg_ls import encode_buffer
    from pydicom.encaps import encapsulate
    from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless

    frames = [values if values.dtype == np.uint8 else to_steps(values) for values in maps]
    try:
        encoded = [bytes(encode_buffer(frame.tobytes(), *frame.shape, 1, 8)) for frame in frames]
        return PixelData(encapsulate(encoded), JPEGLSLossless)
    except RuntimeError:  # the encoder's buffer is too small for an image of a few pixels
        content = b"".join(frame.tobytes() for frame in frames)
        return PixelData(content + b"\0" * (len(content) % 2), ExplicitVRLittleEndian)
