"""Quantization of precision to one byte per weight, on a logarithmic scale between a tensor's minimum and maximum."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

LEVELS = 255
"""Codes 1 to 255 are equidistant logarithms; code 0 is a precision of 0."""

SIGNED_LEVELS = 127
"""Number of codes per sign of a signed value: 1 to 127 and their negatives."""

SIGNED_RANGE = 1e-5
"""Changes below this fraction of a tensor's largest change are set to 0, to limit the range and so the step size."""


class PrecisionCode(NamedTuple):
    """Quantized precision of a tensor.

    Attributes:
        codes: uint8 (int8 for signed values), of the weights' shape.
        low: logarithm of the smallest precision above 0.
        step: difference of the logarithms of adjacent codes.
    """

    codes: Tensor
    low: float
    step: float


def encode_precision(precision: Tensor) -> PrecisionCode:
    """Quantizes a diagonal precision.

    The relative error is at most half a step, which is 2 percent if precisions span four orders of magnitude.

    Args:
        precision: tensor of any shape, 0 or more.

    Raises:
        ValueError: if a value is negative or not finite.
    """
    if not bool((torch.isfinite(precision) & (precision >= 0)).all()):
        raise ValueError("precision expects finite numbers of 0 or more; guard the factor first.")
    some = precision > 0
    if not bool(some.any()):
        return PrecisionCode(torch.zeros_like(precision, dtype=torch.uint8), 0.0, 0.0)
    logarithms = precision.double().log()
    low, high = float(logarithms[some].min()), float(logarithms[some].max())
    step = (high - low) / (LEVELS - 1)
    steps = (logarithms - low) / step if step > 0 else torch.zeros_like(logarithms)
    codes = torch.where(some, steps.clamp(0, LEVELS - 1).round() + 1, 0.0)
    return PrecisionCode(codes.to(torch.uint8), low, step)


def decode_precision(code: PrecisionCode, dtype: torch.dtype = torch.float32) -> Tensor:
    """Dequantizes a precision. Clients and server both continue with the dequantized, not the original, values.

    Example:
        >>> decode_precision(encode_precision(torch.tensor([0.0, 1.0, 100.0])))
        tensor([  0.,   1., 100.])
    """
    values = (code.low + code.step * (code.codes.double() - 1)).exp()
    return torch.where(code.codes > 0, values, 0.0).to(dtype)


def encode_signed(change: Tensor) -> PrecisionCode:
    """Quantizes a change of precision by its sign and the logarithm of its absolute value.

    The relative error is at most half a step, which is 4.7 percent if absolute values span five orders of magnitude,
    the largest range that is represented.

    Args:
        change: tensor of any shape and sign.

    Returns:
        A code with int8 `codes`.

    Raises:
        ValueError: if a value is not finite.
    """
    if not bool(torch.isfinite(change).all()):
        raise ValueError("a change of precision expects finite numbers; the client's training has diverged.")
    size = change.double().abs()
    some = (size > 0) & (size >= SIGNED_RANGE * size.max()) if size.numel() else size > 0
    if not bool(some.any()):
        return PrecisionCode(torch.zeros_like(change, dtype=torch.int8), 0.0, 0.0)
    logarithms = size.log()
    low, high = float(logarithms[some].min()), float(logarithms[some].max())
    step = (high - low) / (SIGNED_LEVELS - 1)
    steps = (logarithms - low) / step if step > 0 else torch.zeros_like(logarithms)
    codes = torch.where(some, steps.clamp(0, SIGNED_LEVELS - 1).round() + 1, 0.0)
    return PrecisionCode((codes * change.sign()).to(torch.int8), low, step)


def decode_signed(code: PrecisionCode, dtype: torch.dtype = torch.float32) -> Tensor:
    """Dequantizes a change of precision.

    Example:
        >>> decode_signed(encode_signed(torch.tensor([0.0, -1.0, 100.0])))
        tensor([  0.,  -1., 100.])
    """
    codes = code.codes.double()
    values = (code.low + code.step * (codes.abs() - 1)).exp() * codes.sign()
    return torch.where(code.codes == 0, 0.0, values).to(dtype)
