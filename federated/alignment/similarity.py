"""What the weights of two networks tell of which units are alike.

A unit is known by its features: all numbers that belong to it in the tensors that list its group. With features a of
one of the reference's units and b of one of the other network's, their squared distance is what a match of the two
costs. What it is worth is `a'b - b'b / 2`: half of the distance, less terms that all orders share, and turned round;
with a metric W, `a'Wb - b'Wb / 2`.
"""

# n units of a group, F features

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .axis_slots import AxisSlot


class Similarity(NamedTuple):
    """Of the units of two networks that stand in the same slots.

    Lengths are taken from the mean of the reference's units: what all units share, such as the ones of a norm, doesn't
    make them alike.

    Attributes:
        distance: (n,) squared, between the two.
        ours: (n,) squared length of the reference's unit.
        theirs: (n,) squared length of the other network's.
    """

    distance: Tensor
    ours: Tensor
    theirs: Tensor


class UnitComparison:
    """Compares a network with a reference, group by group.

    Args:
        reference: {parameter: float32 tensor}.
        metric: {parameter: what its squared differences count}; 1 where it is left out.
    """

    def __init__(self, reference: Mapping[str, Tensor], metric: Mapping[str, Tensor]) -> None:
        self._reference = reference
        self._metric = metric

    def similarity(self, current: Mapping[str, Tensor], slots: Sequence[AxisSlot], size: int) -> Similarity:
        """How alike the units are that stand in the same slots.

        Args:
            current: the other network, as it is ordered now.
            slots: to look at.
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
        """(n, n): what it is worth to have at slot i the unit that stands at slot j in the other network."""
        values = torch.zeros(size, size)
        for ours, theirs, weight in self._features(current, slots):
            if weight is None:
                values.addmm_(ours, theirs.T)  # all orders share the sum of squares
            else:
                values.addmm_(weight * ours, theirs.T).addmm_(weight, (theirs**2).T, alpha=-0.5)
        return values

    def _features(
        self, current: Mapping[str, Tensor], slots: Sequence[AxisSlot]
    ) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """Features of both networks, and the metric's: each (n, F)."""
        for slot in slots:
            weight = self._metric.get(slot.name)
            yield (
                slot.features(self._reference[slot.name]),
                slot.features(current[slot.name]),
                None if weight is None else slot.features(weight),
            )


def metric_of(precision: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """A metric from a diagonal precision: mixed with the identity, and of mean 1 in every tensor.

    Precision spans orders of magnitude within a tensor and between tensors: taken as it is, a few weights would decide
    where all units go.

    Args:
        precision: of the reference.
        share: of the precision in the metric, from 0 (the plain distance) to 1.
    """
    least = torch.finfo(torch.float32).tiny
    return {
        name: (1.0 - share) + share * value.float() / value.float().mean().clamp(min=least)
        for name, value in precision.items()
    }


def _squared_lengths(values: Tensor, mean: Tensor, weight: Tensor | None) -> Tensor:
    """(n, F), from a mean (F,), to (n,); multiplied out, as subtracting the mean would copy all weights."""
    if weight is None:
        return (values * values).sum(dim=1) - 2.0 * (values @ mean) + mean @ mean
    weighted = weight * values
    return (weighted * values).sum(dim=1) - 2.0 * (weighted @ mean) + weight @ (mean * mean)
