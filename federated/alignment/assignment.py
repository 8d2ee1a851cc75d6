"""The best order of units that are held together in blocks, by assignments within assignments.

What two blocks are worth to one another is the best that their units can do within them; so blocks are assigned by
these values, and then the units of each pair of blocks that came together. The optimum over all permutations that keep
blocks whole, as the terms of blocks are independent.
"""

# n units of a group, b blocks

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

Values = NDArray[np.floating]
"""(n, n): what it is worth to have at slot i the unit that is at slot j now."""

Order = NDArray[np.int64]
"""(n,): the unit that comes to each slot."""


def assign(values: Mapping[str, Values], within: Mapping[str, str]) -> dict[str, Order]:
    """The orders of a tree of groups with the largest sum of values.

    Args:
        values: {label: values} of all groups of the tree, blocks before their units.
        within: {label: the label of its blocks}; '' for the outermost.

    Example:
        >>> units = np.zeros((4, 4))
        >>> units[0, 3] = units[1, 2] = 1.0  # the first block wants the second's units, turned round
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
    """(n, n) values of units to (b, b) of blocks: the best assignment within each pair."""
    length = len(units) // count
    if length == 1:
        return units
    pairs = units.reshape(count, length, count, length).transpose(0, 2, 1, 3)
    return np.array([[_worth(pair) for pair in row] for row in pairs])


def _worth(values: Values) -> float:
    return float(values[np.arange(len(values)), _best(values)].sum())


def _best(values: Values) -> Order:
    order: Order = linear_sum_assignment(values, maximize=True)[1]
    return order
