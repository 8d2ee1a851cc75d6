"""Running sums of messages, and the weighted means that follow from them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .message import Message, TensorKind, Weights, key, names_by_kind
from .tensor_sums import LARGEST, TensorSums, Terms, compact, magnitude, quotient_of


class RunningSum:
    """Sums messages in float64.

    Clients send float32. The sum is therefore exact, and the same for any order and grouping, as long as the terms of a
    weight lie within a factor of 2^28 of one another. Memory: one number per weight and kind, independent of the number
    of clients; one number per tensor for precisions that are constant.

    Args:
        shapes: {parameter: shape} of the federation's network.
        kinds: kinds of tensors with the parameters' shapes.
        scalars: kinds of tensors with one number per parameter.
        changes: whether precisions may be negative, because they are changes of earlier terms.
    """

    def __init__(
        self,
        shapes: Mapping[str, torch.Size],
        kinds: tuple[str, ...],
        scalars: tuple[str, ...] = (),
        changes: bool = False,
    ) -> None:
        self._weighted, self._changes = {TensorKind.PRECISION_MEAN, TensorKind.PRECISION} <= {*kinds}, changes
        self._shapes = {key(kind, name): shape for kind in kinds for name, shape in shapes.items()}
        self._shapes |= {key(kind, name): torch.Size() for kind in scalars for name in shapes}
        self._sums = TensorSums()

    @property
    def total(self) -> Message:
        """{`kind/parameter`: float64 sum of the messages so far}; later additions leave these tensors unchanged."""
        return self._sums.tensors()

    @total.setter
    def total(self, total: Message) -> None:
        self._sums = TensorSums(total)

    @classmethod
    def of_shapes(cls, shapes: Mapping[str, torch.Size]) -> RunningSum:
        """Returns a sum of tensors with shapes of their own.

        Args:
            shapes: {`kind/parameter`: shape}.
        """
        found = cls({}, kinds=())
        found._shapes = dict(shapes)
        return found

    def add(self, message: Mapping[str, Tensor]) -> None:
        """Adds a message. A rejected message leaves the sum unchanged.

        Raises:
            KeyError: a tensor that the federation does not have, or a weighted value without its precision.
            ValueError: numbers that are not finite or too large, a wrong shape, or a negative precision.
        """
        self._sums.add(self._checked(message))

    def check(self, message: Mapping[str, Tensor]) -> None:
        """Raises the errors of `add` without adding anything."""
        self._checked(message)

    def _checked(self, message: Mapping[str, Tensor]) -> Terms:
        if [self._shapes.get(name) for name in message] != [value.shape for value in message.values()]:
            for name, value in message.items():
                self._check(name, value)
        terms = Terms.of(message, repeated=key(TensorKind.PRECISION, ""))
        bad = terms.out_of_range()
        if bad is not None:
            raise ValueError(out_of_range(repr(bad)))
        if self._weighted:
            check_pairs(message)
            bad = None if self._changes else terms.negative(key(TensorKind.PRECISION, ""))
            if bad is not None:
                least = float(message[bad].min())
                raise ValueError(f"the precision of {bad.partition('/')[2]!r} expects 0 or more, got {least:.3g}.")
            bad = None if self._changes else _too_large(terms)
            if bad is not None:
                raise ValueError(out_of_range(f"{bad!r}, divided by its precision,"))
        return terms

    def clear(self) -> None:
        """Resets the sum."""
        self._sums.clear()

    def names(self) -> set[str]:
        """Returns the names of all parameters in the sum."""
        return {name.partition("/")[2] for name in self._sums}

    def is_weighed(self, name: str) -> Tensor:
        """Returns where the sum of a parameter's precisions is above 0, bool of its shape, or () if it has no term."""
        precision = self._sums.get(key(TensorKind.PRECISION, name))
        return torch.tensor(False) if precision is None else precision > 0.0

    def weighted_means(
        self,
        before: Mapping[str, Tensor],
        mean_kind: str = TensorKind.PRECISION_MEAN,
        weight_kind: str = TensorKind.PRECISION,
    ) -> Weights:
        """Returns the sums of precision-weighted means divided by the sums of precisions.

        Where the total precision is zero, or so small that the mean is beyond `LARGEST`, the previous value is returned
        bit for bit.

        Args:
            before: {parameter: previous value}; its dtype is kept, and integers (counters) are rounded.
            mean_kind: kind of the weighted values.
            weight_kind: kind of their weights.
        """
        return {name: self._mean(key(mean_kind, name), key(weight_kind, name), value) for name, value in before.items()}

    def _mean(self, weighted: str, weight: str, before: Tensor) -> Tensor:
        sums, known = self._sums, weighted in self._sums and weight in self._sums
        if known and before.dtype == torch.float32 and (sums.flat(weight) > 0.0).all():
            mean = sums.quotient(weighted, weight)
        else:
            mean = _mean(sums.get(weighted), sums.get(weight), before)
        return mean if magnitude(mean) <= LARGEST else torch.where(mean.abs() <= LARGEST, mean, before)

    def _check(self, name: str, value: Tensor) -> None:
        if name not in self._shapes:
            raise KeyError(f"the federation has no tensor {name!r}; the client uses another network or strategy.")
        if value.shape != self._shapes[name]:
            expected, got = tuple(self._shapes[name]), tuple(value.shape)
            raise ValueError(f"{name!r} expects the shape {expected}, got {got}; the client uses another network.")


def check_pairs(message: Mapping[str, object]) -> None:
    """Checks that the terms of weighted means have both the weighted value and the weight of each parameter.

    Raises:
        KeyError: one of the two is missing; the mean of all clients would be wrong.
    """
    kinds = names_by_kind(tuple(message))
    means, weights = (kinds.get(kind, {}).keys() for kind in (TensorKind.PRECISION_MEAN, TensorKind.PRECISION))
    if means != weights:
        raise KeyError(f"parameter {min(means ^ weights)!r} expects precision_mean and precision, got one of them.")


def out_of_range(what: str) -> str:
    """Returns the reason for which a message with some numbers is refused."""
    return f"{what} has numbers that are not finite, or beyond {LARGEST:g}; the client's training diverged."


def _too_large(terms: Terms) -> str | None:
    """Returns the name of a weighted value whose mean is too large; None if there is none.

    A precision of 1 or more, the number of images of an average, needs no look at the tensor: its values are in range.
    """
    names = names_by_kind(tuple(terms.tensors))
    for parameter, name in names.get(TensorKind.PRECISION, {}).items():
        number = terms.numbers.get(name, 0.5)
        if 0.0 < number < 1.0:
            weighted, weight = names[TensorKind.PRECISION_MEAN][parameter], terms.tensors[name].double()
            if bool(((terms.tensors[weighted].double().abs() > LARGEST * weight) & (weight > 0)).any()):
                return weighted
    return None


def _mean(weighted: Tensor | None, weight: Tensor | None, before: Tensor) -> Tensor:
    """Returns a weighted mean; the previous value where the weight is 0 or unknown."""
    if weighted is None or weight is None:
        return before
    if before.is_floating_point() and bool((compact(weight) > 0).all()):
        return quotient_of(weighted, weight, before.dtype)
    mean = weighted / weight
    mean = mean if before.is_floating_point() else mean.round()
    return torch.where(weight > 0, mean.nan_to_num().to(before.dtype), before)
