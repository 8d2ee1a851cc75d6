"""Precision in one byte a weight: its logarithm in 256 steps between the least and the largest of a tensor."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

LEVELS = 255
"""Codes 1 to 255 are logarithms in equal steps; code 0 is no precision at all."""


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


def worst_relative_error(code: PrecisionCode) -> float:
    """The largest relative error of a coded tensor."""
    return math.expm1(code.step / 2)
