"""Decodes RLE Lossless (DICOM PS3.5 G), which applies PackBits to each byte plane of the samples."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .image_pixel import ImagePixel

_HEADER = struct.Struct("<16L")
_MAX_REPEATS = 128  # of one byte, coded in two bytes


def decode_run_length(frame: bytes, image_pixel: ImagePixel) -> NDArray[Any]:
    """Decodes one frame with Pillow's PackBits decoder, which is twenty times as fast as a Python loop.

    Args:
        frame: header of 64 bytes, and one segment for each byte of a sample, the most significant byte first.
        image_pixel: description of the frame.

    Returns:
        Unsigned samples as allocated, (rows, columns), or (rows, columns, 3) for color.

    Raises:
        ValueError: the number of segments differs from the number of bytes per pixel in the header.
        EOFError: a segment is truncated or too short for the frame.
    """
    size = image_pixel.bits_allocated // 8
    segments = _split_segments(frame, image_pixel.samples * size)
    pixels = image_pixel.rows * image_pixel.columns
    if any(len(segment) * _MAX_REPEATS < 2 * pixels for segment in segments):
        raise EOFError("a segment cut short")
    samples = np.empty((image_pixel.samples, pixels), dtype=f"<u{size}")
    planes = samples.view(np.uint8).reshape(image_pixel.samples, pixels, size)
    for index, segment in enumerate(segments):
        planes[index // size, :, size - 1 - index % size] = _unpack_bits(segment, pixels)
    shaped = samples.astype(samples.dtype.newbyteorder("="), copy=False).reshape(
        -1, image_pixel.rows, image_pixel.columns
    )
    return shaped[0] if image_pixel.samples == 1 else np.moveaxis(shaped, 0, -1)


def _split_segments(frame: bytes, expected: int) -> list[memoryview]:
    """Splits a frame into its segments, using the offsets in the RLE header (G.5)."""
    if len(frame) < _HEADER.size:
        raise ValueError("no RLE header")
    count, *offsets = _HEADER.unpack_from(frame)
    if count != expected or not 1 <= count <= 15:
        raise ValueError(f"{count} segments, expected {expected}")
    ends = [*offsets[1:count], len(frame)]
    view = memoryview(frame)
    return [view[start:end] for start, end in zip(offsets[:count], ends, strict=True)]


def _unpack_bits(segment: memoryview, count: int) -> NDArray[np.uint8]:
    """Unpacks the first `count` bytes as a single row, because in some files the runs cross row boundaries."""
    try:
        unpacked = Image.frombytes("L", (count, 1), bytes(segment), "packbits", "L")
    except ValueError as error:  # the only error of Pillow's decoder, because every byte is valid PackBits
        raise EOFError("a segment cut short") from error
    return np.asarray(unpacked).reshape(count)
