"""Unpacks uncompressed pixel data (DICOM PS3.5 8.1 and D)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .image_pixel import ContradictionError, ImagePixel


def unpack_native(
    data: bytes, image_pixel: ImagePixel, little_endian: bool = True, is_words: bool = False
) -> NDArray[Any]:
    """Unpacks one frame of samples.

    Args:
        data: value of Pixel Data, possibly with padding after the frame; see `check_surplus`.
        image_pixel: description of the frame.
        little_endian: whether the transfer syntax is little-endian.
        is_words: whether the VR is OW, in which case big-endian files swap pairs of 8-bit samples.

    Returns:
        Unsigned samples as allocated, (rows, columns), or (rows, columns, 3) for color; read-only if it is a view. In
        YBR_FULL_422, both pixels of a pair have the same color (PS3.3 C.7.6.3.1.2).

    Raises:
        EOFError: the data are truncated.
        ContradictionError: the length of the data shows that they have a different layout.
    """
    if len(data) < image_pixel.num_bytes:
        raise EOFError(f"{len(data)} bytes of {image_pixel.num_bytes}")
    check_surplus(data, image_pixel)
    samples = _unpack_samples(data, image_pixel, little_endian, is_words)
    if image_pixel.photometric == "YBR_FULL_422":
        return _expand_pairs(samples, image_pixel)
    if image_pixel.samples == 1:
        return samples.reshape(image_pixel.rows, image_pixel.columns)
    if image_pixel.is_planar:
        return np.moveaxis(samples.reshape(image_pixel.samples, image_pixel.rows, image_pixel.columns), 0, -1)
    return samples.reshape(image_pixel.rows, image_pixel.columns, image_pixel.samples)


def check_surplus(data: bytes, image_pixel: ImagePixel) -> None:
    """Checks that surplus bytes after the frame are padding (DICOM PS3.5 8.1.1 allows one byte), not pixels.

    A surplus shorter than a row and a column cannot result from a different image size, so it is padding whatever its
    value. A longer surplus is padding only if it is all zeros. The data are never accepted if their length is that of
    the image with other samples per pixel or bits.

    Args:
        data: value of Pixel Data, at least as long as the frame.
        image_pixel: description of the frame.

    Raises:
        ContradictionError: the surplus is not padding.
    """
    size, surplus = image_pixel.num_bytes, len(data) - image_pixel.num_bytes
    if surplus <= size % 2:
        return
    sample_bytes = -(-image_pixel.bits_allocated // 8)
    is_short = surplus < min(image_pixel.rows, image_pixel.columns) * sample_bytes
    is_other = not _lengths_of_other_layouts(image_pixel).isdisjoint({len(data), len(data) - 1} - {size})
    if is_other or len(data) >= 2 * size + 2 or not (is_short or _are_zeros(data, size)):
        raise ContradictionError(f"{len(data)} bytes, but a frame has {size}")


def _are_zeros(data: bytes, start: int) -> bool:
    return not np.frombuffer(data, np.uint8, offset=start).any()


def _lengths_of_other_layouts(image_pixel: ImagePixel) -> set[int]:
    """Returns the sizes in bytes with other samples per pixel (2 as in YBR_FULL_422, 4), other bits, or two frames."""
    pixels = image_pixel.rows * image_pixel.columns
    return {2 * image_pixel.num_bytes} | {
        -(-pixels * samples * bits // 8) for samples in (1, 2, 3, 4) for bits in (1, 8, 16, 32)
    }


def _unpack_samples(data: bytes, image_pixel: ImagePixel, little_endian: bool, is_words: bool) -> NDArray[Any]:
    """Returns the flat samples in native byte order."""
    if image_pixel.bits_allocated == 1:
        count = image_pixel.rows * image_pixel.columns * image_pixel.samples
        return np.unpackbits(np.frombuffer(data, np.uint8, image_pixel.num_bytes), count=count, bitorder="little")
    if image_pixel.bits_allocated == 8 and is_words and not little_endian:
        even = image_pixel.num_bytes + image_pixel.num_bytes % 2
        return (
            np.frombuffer(data.ljust(even, b"\0"), ">u2", even // 2)
            .astype("<u2")
            .view(np.uint8)[: image_pixel.num_bytes]
        )
    size = image_pixel.bits_allocated // 8
    samples = np.frombuffer(data, f"{'<' if little_endian else '>'}u{size}", image_pixel.num_bytes // size)
    return samples.astype(samples.dtype.newbyteorder("="), copy=False)


def _expand_pairs(samples: NDArray[Any], image_pixel: ImagePixel) -> NDArray[Any]:
    """Expands Y1 Y2 B R to Y1 B R and Y2 B R."""
    if image_pixel.columns % 2:
        raise ValueError(f"pairs of pixels in {image_pixel.columns} columns")
    pairs = samples.reshape(image_pixel.rows, image_pixel.columns // 2, 4)
    colors = np.empty((image_pixel.rows, image_pixel.columns // 2, 2, 3), dtype=samples.dtype)
    colors[..., 0] = pairs[..., :2]
    colors[..., 1:] = pairs[:, :, None, 2:]
    return colors.reshape(image_pixel.rows, image_pixel.columns, 3)


def interpret_bits(samples: NDArray[Any], bits: int, is_signed: bool, high_bit: int | None = None) -> NDArray[Any]:
    """Converts samples as allocated to the values of their stored bits.

    The bits above the stored bits are not part of the value (PS3.5 8.1.1); they hold an old overlay or the sign
    extension.

    Args:
        samples: integers, any shape.
        bits: number of stored bits.
        is_signed: whether the values are in two's complement.
        high_bit: highest stored bit; `bits` - 1 by default.

    Returns:
        Signed or unsigned array of the same shape; a view of the input if nothing changes.

    Example:
        >>> interpret_bits(np.array([0x0FFF, 0xF001], dtype=np.uint16), 12, is_signed=True).tolist()
        [-1, 1]
    """
    size = samples.dtype.itemsize
    unsigned = samples.view(f"u{size}")
    spare = 8 * size - bits
    if is_signed and spare < 0:  # the coded bits do not include the sign bit
        return samples.astype(f"i{2 * size}")
    if spare <= 0:
        return samples.view(f"i{size}") if is_signed else unsigned
    low = 0 if high_bit is None else high_bit + 1 - bits
    if is_signed:
        top = np.left_shift(unsigned, spare - low).view(f"i{size}")
        return np.right_shift(top, spare, out=top)
    if low == 0 and (
        samples.size == 0 or int(unsigned.max()) < 2**bits
    ):  # a pass to check is cheaper than one to write
        return unsigned
    return (unsigned >> low) & np.array(2**bits - 1, dtype=unsigned.dtype)


def clip_overshoot(samples: NDArray[Any], bits: int) -> NDArray[Any]:
    """Clips values that lossy compression moved beyond the range of the stored bits, so that they do not wrap around.

    Values beyond the range by more than 1/32 of its width are not overshoot: the bits above the stored bits then have
    another meaning, and nothing is clipped.

    Args:
        samples: integers with the signedness of their codestream, any shape.
        bits: number of stored bits.

    Returns:
        Array with the same shape and dtype.
    """
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if samples.dtype.kind == "i" else (0, 2**bits - 1)
    margin = 2**bits // 32
    least, largest = int(samples.min()), int(samples.max())
    if low <= least and largest <= high:
        return samples
    if least < low - margin or largest > high + margin:
        return samples
    clipped: NDArray[Any] = np.clip(samples, low, high)
    return clipped
