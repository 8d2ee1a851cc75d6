"""Pixel data without compression (DICOM PS3.5 8.1 and D)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .image_pixel import ContradictionError, PixelForm


def unpack_native(data: bytes, form: PixelForm, little_endian: bool = True, is_words: bool = False) -> NDArray[Any]:
    """Unpacks one frame of samples.

    Args:
        data: the value of Pixel Data; `check_surplus` tells padding behind the frame from another form.
        form: of the frame.
        little_endian: byte order of the transfer syntax.
        is_words: its VR is OW; 8-bit samples then are swapped in pairs, where the order is big endian.

    Returns:
        Unsigned samples as allocated, (rows, columns), or (rows, columns, 3) in color; read-only where it is a view.
        Both pixels of a pair in YBR_FULL_422 get its color (PS3.3 C.7.6.3.1.2).

    Raises:
        EOFError: the data are cut short.
        ContradictionError: the data have a length of another form.
    """
    if len(data) < form.num_bytes:
        raise EOFError(f"{len(data)} bytes of {form.num_bytes}")
    check_surplus(data, form)
    samples = _unpack_samples(data, form, little_endian, is_words)
    if form.photometric == "YBR_FULL_422":
        return _expand_pairs(samples, form)
    if form.samples == 1:
        return samples.reshape(form.rows, form.columns)
    if form.is_planar:
        return np.moveaxis(samples.reshape(form.samples, form.rows, form.columns), 0, -1)
    return samples.reshape(form.rows, form.columns, form.samples)


def check_surplus(data: bytes, form: PixelForm) -> None:
    """Tells padding from pixels that the header knows nothing of (DICOM PS3.5 8.1.1 admits one byte).

    What is shorter than a row and a column cannot come of another size, and is padding whatever it holds; more is
    padding where it is zeros. The length that the picture would have with other samples or bits is never.

    Args:
        data: the value of Pixel Data, the frame's bytes at the least.
        form: of the frame.

    Raises:
        ContradictionError: the surplus is no padding.
    """
    size, surplus = form.num_bytes, len(data) - form.num_bytes
    if surplus <= size % 2:
        return
    sample_bytes = -(-form.bits_allocated // 8)
    is_short = surplus < min(form.rows, form.columns) * sample_bytes
    is_other = not _lengths_of_other_forms(form).isdisjoint({len(data), len(data) - 1} - {size})
    if is_other or len(data) >= 2 * size + 2 or not (is_short or _are_zeros(data, size)):
        raise ContradictionError(f"{len(data)} bytes, and a frame has {size}")


def _are_zeros(data: bytes, start: int) -> bool:
    return not np.frombuffer(data, np.uint8, offset=start).any()


def _lengths_of_other_forms(form: PixelForm) -> set[int]:
    """Bytes of the picture with other samples (2: YBR_FULL_422; 4: a plane more), other bits, or two frames."""
    pixels = form.rows * form.columns
    return {2 * form.num_bytes} | {
        -(-pixels * samples * bits // 8) for samples in (1, 2, 3, 4) for bits in (1, 8, 16, 32)
    }


def _unpack_samples(data: bytes, form: PixelForm, little_endian: bool, is_words: bool) -> NDArray[Any]:
    """Samples in the machine's byte order, flat."""
    if form.bits_allocated == 1:
        count = form.rows * form.columns * form.samples
        return np.unpackbits(np.frombuffer(data, np.uint8, form.num_bytes), count=count, bitorder="little")
    if form.bits_allocated == 8 and is_words and not little_endian:
        even = form.num_bytes + form.num_bytes % 2
        return np.frombuffer(data.ljust(even, b"\0"), ">u2", even // 2).astype("<u2").view(np.uint8)[: form.num_bytes]
    size = form.bits_allocated // 8
    samples = np.frombuffer(data, f"{'<' if little_endian else '>'}u{size}", form.num_bytes // size)
    return samples.astype(samples.dtype.newbyteorder("="), copy=False)


def _expand_pairs(samples: NDArray[Any], form: PixelForm) -> NDArray[Any]:
    """Y1 Y2 B R to Y1 B R and Y2 B R."""
    if form.columns % 2:
        raise ValueError(f"pairs of pixels in {form.columns} columns")
    pairs = samples.reshape(form.rows, form.columns // 2, 4)
    colors = np.empty((form.rows, form.columns // 2, 2, 3), dtype=samples.dtype)
    colors[..., 0] = pairs[..., :2]
    colors[..., 1:] = pairs[:, :, None, 2:]
    return colors.reshape(form.rows, form.columns, 3)


def interpret_bits(samples: NDArray[Any], bits: int, is_signed: bool, high_bit: int | None = None) -> NDArray[Any]:
    """Samples as allocated to the values that their stored bits mean.

    What lies above the stored bits is no part of the value (PS3.5 8.1.1): an old overlay, or the sign's copies.

    Args:
        samples: integers, any shape.
        bits: stored.
        is_signed: two's complement.
        high_bit: where the stored bits end; `bits` - 1 if left out.

    Returns:
        Same shape, signed or unsigned; the array itself where nothing is to be done.

    Example:
        >>> interpret_bits(np.array([0x0FFF, 0xF001], dtype=np.uint16), 12, is_signed=True).tolist()
        [-1, 1]
    """
    size = samples.dtype.itemsize
    unsigned = samples.view(f"u{size}")
    spare = 8 * size - bits
    if is_signed and spare < 0:  # fewer bits were coded than the sign's
        return samples.astype(f"i{2 * size}")
    if spare <= 0:
        return samples.view(f"i{size}") if is_signed else unsigned
    low = 0 if high_bit is None else high_bit + 1 - bits
    if is_signed:
        top = np.left_shift(unsigned, spare - low).view(f"i{size}")
        return np.right_shift(top, spare, out=top)
    if low == 0 and (samples.size == 0 or int(unsigned.max()) < 2**bits):  # a pass to look is cheaper than one to write
        return unsigned
    return (unsigned >> low) & np.array(2**bits - 1, dtype=unsigned.dtype)


def clip_overshoot(samples: NDArray[Any], bits: int) -> NDArray[Any]:
    """Clips what lossy compression put beyond the stored bits, which would wrap to the other end of the range.

    Values that lie further beyond than a 32nd of the range are no overshoot: something else stands above the stored
    bits, and nothing is clipped.

    Args:
        samples: integers with the sign that their stream codes, any shape.
        bits: stored.

    Returns:
        Same shape and type.
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
