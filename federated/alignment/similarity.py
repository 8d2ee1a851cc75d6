"""Similarity of units between two networks, from their weights.

A unit's features are all numbers that belong to it in the tensors that list its group. With features a of a unit of the
reference and b of a unit of the other network, the cost of matching them is their squared distance. The value of the
match is `a'b - b'b / 2`: half the negative squared distance, up to terms that are the same for all orders. With a
metric W, it is `a'Wb - b'Wb / 2`.
"""

# n number of units in a group, F number of features

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .axis_slots import AxisSlot


class Similarity(NamedTuple):
    """Comparison of the units of two networks in the same slots.

    Lengths are measured from the mean of the reference's units: values common to all units, such as the ones of a norm
    layer, do not make them similar.

    Attributes:
        distance: (n,) squared distance between the two units.
        ours: (n,) squared length of the reference's unit.
        theirs: (n,) squared length of the other network's unit.
    """

    distance: Tensor
    ours: Tensor
    theirs: Tensor


class UnitComparison:
    """Compares a network with a reference, group by group.

    Args:
        reference: {parameter: float32 tensor}.
        metric: {parameter: weights of the squared differences}; 1 if missing.
    """

    def __init__(self, reference: Mapping[str, Tensor], metric: Mapping[str, Tensor]) -> None:
        self._reference = reference
        self._metric = metric

    def similarity(self, current: Mapping[str, Tensor], slots: Sequence[AxisSlot], size: int) -> Similarity:
        """Compares the units in the same slots.

        Args:
            current: the other network in its present order.
            slots: slots to use.
            size: n.
        """
        distance, one, two = torch.zeros(3, size)
        for ours, theirs, weight in self._features(current, slots):
            mean, difference = ours.mean(dim=0), ours - theirs
            distance += ((difference if weight is None else weight * difference) * difference).sum(dim=1)
            one += _squared_lengths(ours, mean, weight)
            two += _squared_lengths(theirs, mean, weight)
        return Similarity(distance, one.clamp(min=0.0), two.clamp(min=0.0))

    def values(self, current: Mapping[str, Tensor], slots: Sequence[AxisSlot], size: int) -> Tensor:
        """Returns (n, n): the value of moving the other network's unit from slot j to slot i."""
        values = torch.zeros(size, size)
        for ours, theirs, weight in self._features(current, slots):
            if weight is None:
                values.addmm_(ours, theirs.T)  # the sum of squares is the same for all orders
            else:
                values.addmm_(weight * ours, theirs.T).addmm_(weight, (theirs**2).T, alpha=-0.5)
        return values

    def _features(
        self, current: Mapping[str, Tensor], slots: Sequence[AxisSlot]
    ) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """Yields the features of both networks and of the metric: each (n, F)."""
        for slot in slots:
            weight = self._metric.get(slot.name)
            yield (
                slot.features(self._reference[slot.name]),
                slot.features(current[slot.name]),
                None if weight is None else slot.features(weight),
            )


def metric_of(precision: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Returns a metric from a diagonal precision, mixed with the identity, with mean 1 in every tensor.

    Precision spans orders of magnitude within a tensor and between tensors: without mixing, a few weights would decide
    where all units move.

    Args:
        precision: of the reference.
        share: share of the precision in the metric, from 0 (the plain distance) to 1.
    """
    least = torch.finfo(torch.float32).tiny
    return {
        name: (1.0 - share) + share * value.float() / value.float().mean().clamp(min=least)
        for name, value in precision.items()
    }


def _squared_lengths(values: Tensor, mean: Tensor, weight: Tensor | None) -> Tensor:
    """Returns the squared lengths of (n, F) from a mean (F,), as (n,), expanded to avoid a copy of all weights."""
    if weight is None:
        return (values * values).sum(dim=1) - 2.0 * (values @ mean) + mean @ mean
    weighted = weight * values
    return (weighted * values).sum(dim=1) - 2.0 * (weighted @ mean) + weight @ (mean * mean)
