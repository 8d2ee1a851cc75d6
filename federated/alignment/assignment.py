"""Optimal order of units that are grouped into blocks, by nested assignment problems.

The value of matching two blocks is the best value that their units can reach within them. Blocks are assigned by these
values, then the units within each matched pair of blocks. The result is optimal over all permutations that keep blocks
whole, as the terms of different blocks are independent.
"""

# n number of units in a group, b number of blocks

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

Values = NDArray[np.floating]
"""(n, n): value of moving the unit at slot j to slot i."""

Order = NDArray[np.int64]
"""(n,): the unit that moves to each slot."""


def assign(values: Mapping[str, Values], within: Mapping[str, str]) -> dict[str, Order]:
    """Returns the orders of a tree of groups with the largest sum of values.

    Args:
        values: {label: values} of all groups of the tree, blocks before their units.
        within: {label: label of its blocks}; '' for the outermost group.

    Example:
        >>> units = np.zeros((4, 4))
        >>> units[0, 3] = units[1, 2] = 1.0  # the first block matches the second block's units in reverse order
        >>> orders = assign({"blocks": np.zeros((2, 2)), "units": units}, {"blocks": "", "units": "blocks"})
        >>> orders["blocks"].tolist(), orders["units"].tolist()
        ([1, 0], [3, 2, 0, 1])
    """
    totals = dict(values)
    for label in reversed(list(values)):
        if within[label]:
            totals[within[label]] = totals[within[label]] + _values_of_blocks(totals[label], len(values[within[label]]))
    orders: dict[str, Order] = {}
    for label, total in totals.items():
        blocks = orders[within[label]] if within[label] else np.zeros(1, dtype=np.int64)
        length = len(total) // len(blocks)
        pairs = [(slot * length, block * length) for slot, block in enumerate(blocks)]
        inner = [_best(total[i : i + length, j : j + length]) + j for i, j in pairs]
        orders[label] = np.concatenate(inner)
    return orders


def _values_of_blocks(units: Values, count: int) -> Values:
    """Reduces values of units (n, n) to values of blocks (b, b): the best assignment within each pair."""
    length = len(units) // count
    if length == 1:
        return units
    pairs = units.reshape(count, length, count, length).transpose(0, 2, 1, 3)
    return np.array([[_best_value(pair) for pair in row] for row in pairs])


def _best_value(values: Values) -> float:
    return float(values[np.arange(len(values)), _best(values)].sum())


def _best(values: Values) -> Order:
    order: Order = linear_sum_assignment(values, maximize=True)[1]
    return order
