"""Sums of large tensors: exact, in place, and in as few passes over memory as possible.

A server adds messages of the size of the network, so its time is that of reading and writing memory. Two properties of
messages save most of it: their numbers are almost always finite, which the sum of a tensor shows in one pass; and most
precisions are constant, the same number for all weights of a tensor. A constant tensor is kept as a view of a single
number (`constant`), whose sums and quotients cost nothing.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor


def is_finite(value: Tensor) -> bool:
    """Returns whether all numbers are finite.

    NaN and infinities pass on to the sum, so a finite sum settles it; a sum that is not finite may have overflowed.

    Example:
        >>> is_finite(torch.tensor([3e38, 3e38])), is_finite(torch.tensor([1.0, torch.nan]))
        (True, False)
    """
    if not value.is_floating_point():
        return True
    return math.isfinite(float(compact(value).sum())) or bool(torch.isfinite(value).all())


def is_constant(value: Tensor) -> bool:
    """Returns whether a tensor is a view of a single number, as `constant` makes it; equal numbers are not enough."""
    return all(size == 1 or stride == 0 for size, stride in zip(value.shape, value.stride(), strict=True))


def constant(value: Tensor) -> Tensor:
    """Returns a view of a single number if all numbers of a tensor are equal, and the tensor itself otherwise.

    Example:
        >>> constant(torch.tensor([2.0, 2.0])).stride(), constant(torch.tensor([2.0, 3.0])).stride()
        ((0,), (1,))
    """
    if value.numel() < 2 or is_constant(value):
        return value
    least, most = torch.aminmax(value)  # both are NaN if any number is
    return least.expand(value.shape) if bool(least == most) else value


def compact(value: Tensor) -> Tensor:
    """Returns a constant tensor with all axes of length 1, which broadcasts to it; any other tensor unchanged.

    Example:
        >>> compact(torch.zeros(()).expand(3, 2)).shape
        torch.Size([1, 1])
    """
    if value.numel() < 2 or not is_constant(value):
        return value
    return value[(slice(0, 1),) * value.ndim]


def copied(term: Tensor) -> Tensor:
    """Returns a float64 copy on the CPU; of a constant tensor, a view of one number."""
    if is_constant(term):
        return compact(term).to("cpu", torch.float64, copy=True).expand(term.shape)
    return term.to("cpu", torch.float64, copy=True)


def sum_of(total: Tensor, term: Tensor, in_place: bool = False) -> Tensor:
    """Returns the float64 sum of a total and a term.

    Args:
        total: float64.
        term: of any type, on any device, with the shape of the total.
        in_place: whether the total's memory may be overwritten.
    """
    if is_constant(total) and is_constant(term):
        return (compact(total) + compact(term).to("cpu", torch.float64)).expand(total.shape)
    if not in_place or is_constant(total):
        return total + term.to("cpu", torch.float64)
    if is_constant(term) or not _numpy_reads(term):
        return total.add_(term.to("cpu", torch.float64))
    array = total.numpy()
    np.add(array, term.numpy(), out=array)  # converts the term in the cache, unlike torch
    return total


def quotient_of(numerator: Tensor, denominator: Tensor, dtype: torch.dtype) -> Tensor:
    """Returns the float64 quotient, rounded to another type.

    Args:
        numerator: float64, on the CPU.
        denominator: float64, of the same shape.
        dtype: of the result, which is rounded to whole numbers if it is an integer type.
    """
    divisor = compact(denominator)
    if dtype != torch.float32 or not numerator.is_contiguous():
        quotient = numerator / divisor
        return quotient.to(dtype) if dtype.is_floating_point else quotient.round().to(dtype)
    found = torch.empty(numerator.shape, dtype=dtype)
    with np.errstate(all="ignore"):
        np.divide(numerator.numpy(), divisor.numpy(), out=found.numpy(), casting="same_kind")
    return found


def _numpy_reads(value: Tensor) -> bool:
    return value.device.type == "cpu" and not value.requires_grad and value.dtype in (torch.float32, torch.float64)
