"""Sums of messages as they arrive, and weighted means out of them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .strategy import TensorKind, Weights, key


class RunningSum:
    """Adds messages, in float64.

    Sites send float32: their sum is then exact, and so the same in any order and grouping, as long as the terms of a
    weight lie within a factor of 2^28 of one another. Memory: one number a weight and kind, whatever the number of
    sites.

    Args:
        shapes: {parameter: shape} of the federation's network.
        kinds: that sites send, of the parameters' shapes.
        scalars: kinds that sites send as one number a parameter.

    Attributes:
        total: {`kind/parameter`: float64}, of what came so far.
    """

    def __init__(self, shapes: Mapping[str, torch.Size], kinds: tuple[str, ...], scalars: tuple[str, ...] = ()) -> None:
        self._shapes = {key(kind, name): shape for kind in kinds for name, shape in shapes.items()}
        self._shapes |= {key(kind, name): torch.Size() for kind in scalars for name in shapes}
        self.total: dict[str, Tensor] = {}

    def add(self, message: Mapping[str, Tensor]) -> None:
        """Adds one message, whole or not at all.

        Raises:
            KeyError: a tensor that the federation doesn't have.
            ValueError: numbers that are not finite, or another shape.
        """
        self.check(message)
        for name, value in message.items():
            term = value.detach().to("cpu", torch.float64, copy=True)
            self.total[name] = term.add_(self.total[name]) if name in self.total else term

    def check(self, message: Mapping[str, Tensor]) -> None:
        """Refuses what `add` would refuse, and adds nothing."""
        for name, value in message.items():
            self._check(name, value)

    def clear(self) -> None:
        """Starts from nothing."""
        self.total = {}

    def names(self) -> set[str]:
        """Parameters that any term came for."""
        return {name.partition("/")[2] for name in self.total}

    def weighted_means(self, before: Mapping[str, Tensor]) -> Weights:
        """Sum of precision-weighted means over sum of precisions; without any, what was there before, bit for bit.

        Args:
            before: {parameter: value}, of the dtype that comes back; integers (counters) are rounded.
        """
        return {name: self._mean(name, value) for name, value in before.items()}

    def _mean(self, name: str, before: Tensor) -> Tensor:
        precision_mean = self.total.get(key(TensorKind.PRECISION_MEAN, name))
        precision = self.total.get(key(TensorKind.PRECISION, name))
        if precision_mean is None or precision is None:
            return before
        mean = precision_mean / precision
        mean = mean if before.is_floating_point() else mean.round()
        return torch.where(precision > 0, mean.nan_to_num().to(before.dtype), before)

    def _check(self, name: str, value: Tensor) -> None:
        if name not in self._shapes:
            raise KeyError(f"the federation has no tensor {name!r}; the site's network or strategy is another one.")
        if value.shape != self._shapes[name]:
            expected, got = tuple(self._shapes[name]), tuple(value.shape)
            raise ValueError(f"{name!r} expects the shape {expected}, got {got}; the site's network is another one.")
        if not bool(torch.isfinite(value).all()):
            raise ValueError(f"{name!r} came with numbers that are not finite; the site has diverged.")
