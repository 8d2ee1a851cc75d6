"""Sums of large tensors: exact, in place, and in as few passes over memory as possible.

A server adds messages of the size of the network, so its time is that of reading and writing memory, and that of Python
for each of some hundred tensors. Three properties of messages save most of both: their numbers are almost always
finite, which their sum shows in one pass; most precisions are constant, one number for all weights of a tensor; and
most tensors are small. A constant tensor is kept as a view of a single number (`constant`), whose sums and quotients
cost nothing, and small tensors are joined to one. `Terms` sorts a message once for both checks and sums.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final, TypeVar

import numpy as np
import torch
from torch import Tensor

SMALL: Final = 16_384
"""Number of weights up to which a tensor is joined with others."""

LARGEST: Final = 1e18
"""Largest number in a message, and largest weight: squares of both, and sums over all sites, are finite in float32."""

Array = np.ndarray[Any, Any]
_Sums = TypeVar("_Sums", bound="TensorSums")


def is_constant(value: Tensor) -> bool:
    """Returns whether a tensor is a view of a single number, as `constant` makes it; equal numbers are not enough."""
    if value.is_contiguous():
        return value.numel() == 1
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
    return value.as_strided((1,) * value.ndim, (0,) * value.ndim)


@dataclass(frozen=True)
class Terms:
    """Tensors by name, sorted for checks and sums.

    Attributes:
        tensors: all of them.
        numbers: {name: number} of the constant ones.
        small: {name: tensor} of the others with at most `SMALL` numbers.
        large: {name: tensor} of the rest.
        joined: the numbers of all small tensors in turn, float32 or float64.
    """

    tensors: Mapping[str, Tensor]
    numbers: Mapping[str, float]
    small: Mapping[str, Tensor]
    large: Mapping[str, Tensor]
    joined: Array

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], repeated: str = "") -> Terms:
        """Sorts tensors.

        Args:
            tensors: by name.
            repeated: prefix of the names of tensors that count as constant if all their numbers are equal; others do
                only as views of one number. '': none.
        """
        numbers: dict[str, float] = {}
        small: dict[str, Tensor] = {}
        large: dict[str, Tensor] = {}
        for name, value in tensors.items():
            found, size, single = value, value.numel(), is_constant(value)
            if not single and repeated and name.startswith(repeated):
                found = constant(value)
                single = found is not value
            if single and size:
                numbers[name] = _number(found)
            else:
                (small if size <= SMALL else large)[name] = found
        return cls(tensors, numbers, small, large, _joined(small.values()))

    def out_of_range(self) -> str | None:
        """Returns the name of a tensor with a number that is not finite, or beyond `LARGEST`; None if there is none."""
        if all(magnitude(value) <= LARGEST for value in (torch.from_numpy(self.joined), *self.large.values())):
            rest: dict[str, Tensor] = {}
        else:
            rest = {**self.small, **self.large}
        bad = (name for name, number in self.numbers.items() if not abs(number) <= LARGEST)
        return next(bad, None) or next((name for name, value in rest.items() if not magnitude(value) <= LARGEST), None)

    def negative(self, prefix: str = "") -> str | None:
        """Returns the name, beginning with a prefix, of a tensor with a number below 0; None if there is none."""
        found = (name for name, number in self.numbers.items() if number < 0.0 and name.startswith(prefix))
        others = (each for part in (self.small, self.large) for each in part.items() if each[0].startswith(prefix))
        return next(found, None) or next((name for name, value in others if bool((value < 0).any())), None)

    def means(self, prefix: str = "") -> dict[str, float]:
        """Returns {name: mean of its numbers} of the tensors whose names begin with a prefix, in float32 or float64."""
        rest = {**self.small, **self.large}
        numbers = {name: number for name, number in self.numbers.items() if name.startswith(prefix)}
        return numbers | {name: _mean(value) for name, value in rest.items() if name.startswith(prefix)}


class TensorSums:
    """Running sums of tensors by name, in float64.

    Constant tensors are summed as numbers, and small ones together with all small tensors of their message. The sums of
    large ones are added to in place, unless somebody else may hold them: what `get` and `tensors` return never changes.
    """

    def __init__(self, tensors: Mapping[str, Tensor] | None = None) -> None:
        self._shapes: dict[str, torch.Size] = {}
        self._numbers: dict[str, float] = {}
        self._large: dict[str, Array] = {}  # flat: NumPy converts types slowly along short axes
        self._own: set[str] = set()
        self._spare: dict[str, Array] = {}  # memory of large sums that were cleared
        self._joined: dict[tuple[str, ...], Array] = {}  # by the names of the tensors in turn
        self._places: dict[str, list[tuple[tuple[str, ...], slice]]] = {}
        if tensors:
            self.add(Terms.of(tensors))

    def clear(self) -> None:
        """Forgets all sums; their memory is used again, unless somebody else may hold it: new pages are slow."""
        spare = {name: self._large[name] for name in self._own}
        self._shapes, self._numbers, self._large, self._own, self._joined, self._places = {}, {}, {}, set(), {}, {}
        self._spare = spare

    def copy(self: _Sums) -> _Sums:
        """Returns sums with these values; both go on independently."""
        found = type(self)()
        found._shapes, found._numbers, found._large = dict(self._shapes), dict(self._numbers), dict(self._large)
        self._own.clear()  # large sums are shared until one of both changes
        found._joined = {names: vector.copy() for names, vector in self._joined.items()}
        found._places = {name: list(places) for name, places in self._places.items()}
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._shapes

    def __iter__(self) -> Iterator[str]:
        yield from self._shapes

    def add(self, terms: Terms) -> None:
        """Adds terms; all terms of a name have one shape."""
        for name, value in terms.tensors.items():
            if name not in self._shapes:
                self._shapes[name] = value.shape
        for name, number in terms.numbers.items():
            self._numbers[name] = self._numbers.get(name, 0.0) + number
        for name, value in terms.large.items():
            array, known = array_of(value), self._large.get(name)
            if known is not None and name in self._own:
                np.add(known, array, out=known)  # converts block by block; torch's add_ copies all to float64 first
                continue
            spare = self._spare.pop(name, None)
            found = np.empty(array.size) if spare is None else spare
            if known is None:
                np.copyto(found, array)
            else:
                np.add(known, array, out=found)
            self._large[name] = found
            self._own.add(name)
        if terms.small:
            self._add_joined(terms)

    def _add_joined(self, terms: Terms) -> None:
        names = tuple(terms.small)
        if names in self._joined:
            self._joined[names] += terms.joined
            return
        self._joined[names] = terms.joined.astype(np.float64)
        ends = list(accumulate(value.numel() for value in terms.small.values()))
        for name, start, end in zip(names, [0, *ends], ends, strict=False):
            self._places.setdefault(name, []).append((names, slice(start, end)))

    def get(self, name: str) -> Tensor | None:
        """Returns the sum of a name; None if it has no term. Constant sums are views of one number."""
        if name not in self._shapes:
            return None
        shape, flat = self._shapes[name], self.flat(name)
        if name not in self._places and name not in self._large:
            return torch.from_numpy(flat).view(()).expand(shape)
        if name in self._places:
            flat = flat.copy()
        self._own.discard(name)
        return torch.from_numpy(flat).view(shape)

    def flat(self, name: str) -> Array:
        """Returns the numbers of a sum, float64 (N,), or (1,) if it is constant.

        They are those of the sum itself, so they may not be changed, and change with the next addition.
        """
        parts = [self._joined[names][place] for names, place in self._places.get(name, ())]
        if name in self._large:
            parts.append(self._large[name])
        if name in self._numbers:
            parts.append(np.array([self._numbers[name]]))
        return parts[0] if len(parts) == 1 else sum(parts[1:], parts[0])

    def quotient(self, numerator: str, denominator: str) -> Tensor:
        """Returns the quotient of the sums of two names of equal shape, rounded to float32."""
        shape = self._shapes[numerator]
        found = np.empty(shape.numel(), np.float32)
        _divide(self.flat(numerator), self.flat(denominator), found)
        return torch.from_numpy(found).view(shape)

    def tensors(self) -> dict[str, Tensor]:
        """Returns all sums by name."""
        return {name: value for name in self if (value := self.get(name)) is not None}


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
    _divide(numerator.numpy(), divisor.numpy(), found.numpy())
    return found


def _divide(numerator: Array, denominator: Array, found: Array) -> None:
    """Writes a float64 quotient to an array of float32, in one pass."""
    with np.errstate(all="ignore"):
        np.divide(numerator, denominator, out=found, casting="same_kind")


def _number(value: Tensor) -> float:
    """Returns the number of a constant tensor."""
    try:
        return float(value.numpy().item(0))  # a third of the time of the general way
    except (TypeError, RuntimeError):  # types and devices that NumPy lacks; gradients
        return float(value.detach()[(0,) * value.ndim])


def _joined(values: Collection[Tensor]) -> Array:
    """Returns the numbers of all tensors in turn, float32 if all are, else float64."""
    if not values:
        return np.empty(0)
    if {value.dtype for value in values} != {torch.float32} or len({value.device for value in values}) > 1:
        return np.concatenate([array_of(value) for value in values])
    return array_of(torch.cat([value if value.ndim == 1 else value.reshape(-1) for value in values]))


def _mean(value: Tensor) -> float:
    """Returns the mean; without a copy in float64, which takes ten times as long, and needs no more digits."""
    return float((value if value.dtype in (torch.float32, torch.float64) else value.double()).mean())


def magnitude(value: Tensor) -> float:
    """Returns an upper bound of all magnitudes, which is above `LARGEST` only if one of them is; NaN if one of them is.

    It is the root of the sum of squares or, where that is out of range, the largest magnitude itself.
    """
    if value.numel() == 0:
        return 0.0
    if value.dtype in (torch.float32, torch.float64) and value.is_contiguous():
        flat = value.detach().view(-1)
        squares = float(flat @ flat)  # faster than any other function of all numbers
        if squares <= LARGEST**2:
            return squares**0.5
    least, most = torch.aminmax(value)
    return max(-float(least), float(most))


def array_of(value: Tensor) -> Array:
    """Returns the numbers of a tensor as a flat array, without a copy if NumPy can read them."""
    if value.device.type != "cpu" or value.dtype not in (torch.float32, torch.float64):
        value = value.to("cpu", torch.float64)
    return (value.detach() if value.requires_grad else value).reshape(-1).numpy()
