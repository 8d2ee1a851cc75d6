"""Sums of large tensors: exact, in place, and in as few passes over memory as possible.

A server adds messages of the size of the network, so its time is that of reading and writing memory. Two properties of
messages save most of it: their numbers are almost always finite, which a norm shows in one pass; and most
precisions are constant, the same number for all weights of a tensor. A constant tensor is kept as a view of a single
number (`constant`), whose sums and quotients cost nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

SMALL: Final = 65_536
"""Number of weights of a part of a sum that stays in the cache."""


def is_constant(value: Tensor) -> bool:
    """Returns whether a tensor is a view of a single number, as `constant` makes it; equal numbers are not enough."""
    strides = value.stride()
    return not any(strides) or all(size == 1 or stride == 0 for size, stride in zip(value.shape, strides, strict=True))


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


class TensorSums:
    """Running sums of tensors by name, in float64.

    Constant tensors are summed as numbers. Other sums are arrays that are added to in place, unless somebody else may
    hold them: what `get` and `tensors` return never changes. Every second term of a large tensor waits, by reference,
    for the next one, so that the sum is read and written once for both; terms must therefore not change afterwards.
    """

    def __init__(self, tensors: Mapping[str, Tensor] | None = None) -> None:
        self._numbers: dict[str, tuple[float, torch.Size]] = {}
        self._arrays: dict[str, np.ndarray[Any, Any]] = {}  # flat: NumPy converts types slowly along short axes
        self._shapes: dict[str, torch.Size] = {}
        self._own: set[str] = set()
        self._waiting: dict[str, np.ndarray[Any, Any]] = {}
        for name, value in (tensors or {}).items():
            self.add(name, value)

    def __contains__(self, name: object) -> bool:
        return name in self._arrays or name in self._numbers

    def __iter__(self) -> Iterator[str]:
        yield from self._numbers
        yield from self._arrays

    def add(self, name: str, term: Tensor) -> None:
        """Adds a term; all terms of a name have one shape."""
        known = self._numbers.get(name)
        if term.numel() > 1 and is_constant(term) and name not in self._arrays:
            number = float(term[(0,) * term.ndim])
            self._numbers[name] = (number if known is None else known[0] + number, term.shape)
            return
        if known is not None:
            self._arrays[name], self._shapes[name] = np.full(known[1].numel(), known[0]), known[1]
            self._own.add(name)
            del self._numbers[name]
        array = _array(term)
        if name not in self._arrays:
            self._arrays[name], self._shapes[name] = np.array(array, dtype=np.float64), term.shape
            self._own.add(name)
        elif name in self._own:
            waiting = self._waiting.pop(name, None)
            if waiting is None and array.size >= SMALL:
                self._waiting[name] = array
            else:
                _add_to(self._arrays[name], [array] if waiting is None else [waiting, array])
        else:
            self._arrays[name] = np.add(self._arrays[name], array, dtype=np.float64)
            self._own.add(name)

    def get(self, name: str) -> Tensor | None:
        """Returns the sum of a name; None if it has no term. Constant sums are views of one number."""
        if name in self._numbers:
            number, shape = self._numbers[name]
            return torch.tensor(number, dtype=torch.float64).expand(shape)
        if name not in self._arrays:
            return None
        if name in self._waiting:
            _add_to(self._arrays[name], [self._waiting.pop(name)])
        self._own.discard(name)
        return torch.from_numpy(self._arrays[name]).view(self._shapes[name])

    def tensors(self) -> dict[str, Tensor]:
        """Returns all sums by name."""
        return {name: value for name in self if (value := self.get(name)) is not None}


def all_finite(values: Mapping[str, Tensor]) -> str | None:
    """Returns the name of a tensor with a number that is not finite; None if there is none.

    NaN and infinities pass on to the norm of all tensors, which reads each number once, so a finite norm settles it. A
    norm that is not finite may have overflowed.
    """
    floats = {name: compact(value) for name, value in values.items() if value.is_floating_point()}
    if math.isfinite(float(get_total_norm(list(floats.values())))):
        return None
    return next((name for name, value in floats.items() if not bool(torch.isfinite(value).all())), None)


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


def _add_to(total: np.ndarray[Any, Any], terms: list[np.ndarray[Any, Any]]) -> None:
    """Adds terms to a flat array in place, part by part, so that a part of the total stays in the cache."""
    for start in range(0, total.size, SMALL):
        part = total[start : start + SMALL]
        for term in terms:
            np.add(part, term[start : start + SMALL], out=part)  # converts the term in the cache, unlike torch


def _array(value: Tensor) -> np.ndarray[Any, Any]:
    """Returns the numbers of a tensor as a flat array, without a copy if NumPy can read them."""
    if value.device.type != "cpu" or value.dtype not in (torch.float32, torch.float64):
        value = value.to("cpu", torch.float64)
    return (value.detach() if value.requires_grad else value).reshape(-1).numpy()
