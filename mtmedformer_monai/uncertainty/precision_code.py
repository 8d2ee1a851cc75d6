"""Precision in one byte a weight: its logarithm in 256 steps between the least and the largest of a tensor."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

LEVELS = 255
"""Codes 1 to 255 are logarithms in equal steps; code 0 is no precision at all."""

SIGNED_LEVELS = 127
"""The same of a signed number: codes 1 to 127, and their negatives."""

SIGNED_RANGE = 1e-5
"""Share of a tensor's largest change below which changes are none: they would cost the others their steps."""


class PrecisionCode(NamedTuple):
    """A tensor's precision, coded.

    Attributes:
        codes: uint8, of the weights' shape.
        low: logarithm of the least precision above 0.
        step: between neighboring codes.
    """

    codes: Tensor
    low: float
    step: float


def encode_precision(precision: Tensor) -> PrecisionCode:
    """Codes a diagonal precision.

    The relative error is at most half a step: 2 per cent where precisions span four orders of magnitude.

    Args:
        precision: of any shape, 0 or more.

    Raises:
        ValueError: negative or not finite.
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
    """The precision that a code stands for; both ends of a federation go on with this one, not with what was coded.

    Example:
        >>> decode_precision(encode_precision(torch.tensor([0.0, 1.0, 100.0])))
        tensor([  0.,   1., 100.])
    """
    values = (code.low + code.step * (code.codes.double() - 1)).exp()
    return torch.where(code.codes > 0, values, 0.0).to(dtype)


def encode_signed(change: Tensor) -> PrecisionCode:
    """Codes the change of a precision: its sign, and the logarithm of its size.

    The relative error is at most half a step: 4.7 per cent where sizes span five orders of magnitude, which is as much
    as is told.

    Args:
        change: of any shape and sign.

    Returns:
        With int8 codes.

    Raises:
        ValueError: not finite.
    """
    if not bool(torch.isfinite(change).all()):
        raise ValueError("a change of precision expects finite numbers; the site has diverged.")
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
    """The change that a signed code stands for.

    Example:
        >>> decode_signed(encode_signed(torch.tensor([0.0, -1.0, 100.0])))
        tensor([  0.,  -1., 100.])
    """
    codes = code.codes.double()
    values = (code.low + code.step * (codes.abs() - 1)).exp() * codes.sign()
    return torch.where(code.codes == 0, 0.0, values).to(dtype)
