"""Matching of hidden units under a Beta-Bernoulli process (PFNM: Yurochkin et al., ICML 2019, section 3.1).

Global units are drawn from N(0, prior I); each network has a subset of them, chosen by a Beta-Bernoulli process of mass
gamma, each with noise. Given the units of all other networks, the most probable assignment of one network's units is an
assignment problem; networks are visited in turn until no assignment changes.
"""

# J networks, n units of a network, F features of a unit, L global units

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

Units = NDArray[np.float64]
"""(n, F): the features of a network's units, its weights from and to them."""

Slots = NDArray[np.int64]
"""(n,): the global unit of each unit."""


@dataclass(frozen=True)
class UnitPrior:
    """Parameters of the model.

    Attributes:
        mass: gamma, of the Beta-Bernoulli process; the expected number of units of a network.
        variance: of the features of global units around 0.
        noise: variance of a network's features around its global units, at the mean number of images.
    """

    mass: float = 1.0
    variance: float = 1.0
    noise: float = 1.0


def match_units(
    networks: Sequence[Units], counts: Sequence[float], max_units: int, prior: UnitPrior, max_sweeps: int = 20
) -> list[Slots]:
    """Returns the global unit of every unit of every network; those of the first network are numbered in its order.

    Args:
        networks: features of their units.
        counts: numbers of images of the networks, to which the precisions of their features are proportional.
        max_units: maximum number of global units, at least the number of any network's units.
        prior: of the model.
        max_sweeps: maximum number of passes over the networks after the first.

    Raises:
        ValueError: a network has more units than `max_units`.
    """
    largest = max(len(units) for units in networks)
    if largest > max_units:
        raise ValueError(f"max_units expects the number of units of each network or more, {largest}, got {max_units}.")
    precisions = [count / float(np.mean(counts)) / prior.noise for count in counts]
    slots: list[Slots] = []
    for index in range(len(networks)):
        slots.append(_assign(networks, precisions, slots, index, max_units, prior))
    for _ in range(max_sweeps):
        before = [each.copy() for each in slots]
        for index in range(len(networks)):
            slots[index] = _assign(networks, precisions, slots, index, max_units, prior)
        if all(np.array_equal(one, other) for one, other in zip(before, slots, strict=True)):
            break
    return _by_appearance(slots)


def costs(
    units: Units,
    precision: float,
    sums: Units,
    precisions: NDArray[np.float64],
    popularity: NDArray[np.float64],
    num_networks: int,
    max_units: int,
    prior: UnitPrior,
) -> Units:
    """Returns the negative log posterior of assigning units to existing, then new global units, up to constants.

    Args:
        units: of the network to assign, (n, F).
        precision: of its features.
        sums: of precision times features of the other networks' units, by existing global unit, (L, F).
        precisions: their summed precisions, (L,).
        popularity: m, number of other networks that have each global unit, 1 or more, (L,).
        num_networks: J, this one included.
        max_units: maximum number of global units.
        prior: of the model.

    Returns:
        (n, L + number of new units, at most n and up to `max_units`).
    """
    inverse = 1.0 / prior.variance
    with_unit = ((units**2).sum(axis=1)[:, None] * precision**2 + 2.0 * precision * units @ sums.T) + (sums**2).sum(
        axis=1
    )
    without = (sums**2).sum(axis=1) / (inverse + precisions)
    existing = with_unit / (inverse + precision + precisions) - without
    existing = existing + 2.0 * np.log(popularity / (num_networks - popularity))
    numbers = np.arange(1, min(len(units), max_units - len(sums)) + 1)
    new = ((precision * units) ** 2).sum(axis=1) / (inverse + precision)
    fresh = new[:, None] - 2.0 * np.log(numbers * num_networks / prior.mass)[None]
    return -np.concatenate([existing, fresh], axis=1)


def _assign(
    networks: Sequence[Units],
    precisions: Sequence[float],
    slots: Sequence[Slots],
    index: int,
    max_units: int,
    prior: UnitPrior,
) -> Slots:
    """Returns the best slots of one network's units given those of all others that have slots."""
    others = [each for each in range(len(slots)) if each != index]
    if not others:
        return np.arange(len(networks[index]))  # all units are new, in any order
    used = np.unique(np.concatenate([slots[each] for each in others]))
    sums, total, popularity = np.zeros((max_units, networks[index].shape[1])), np.zeros(max_units), np.zeros(max_units)
    for each in others:
        sums[slots[each]] += precisions[each] * networks[each]
        total[slots[each]] += precisions[each]
        popularity[slots[each]] += 1.0
    found = costs(
        networks[index], precisions[index], sums[used], total[used], popularity[used], len(networks), max_units, prior
    )
    order: Slots = linear_sum_assignment(found)[1]
    free = np.setdiff1d(np.arange(max_units), used)
    return np.concatenate([used, free])[order]


def _by_appearance(slots: Sequence[Slots]) -> list[Slots]:
    """Renumbers the global units in the order in which they appear: the first network's units, then new ones."""
    used, first = np.unique(np.concatenate(slots), return_index=True)
    number = np.empty(int(used.max()) + 1, dtype=np.int64)
    number[used[np.argsort(first)]] = np.arange(len(used))
    return [number[each] for each in slots]
