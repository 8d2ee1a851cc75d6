from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from mtmedformer_monai.federated.strategies.beta_bernoulli import UnitPrior, costs, match_units

RIGHT, UP, DOWN = [10.0, 0.0], [0.0, 10.0], [0.0, -10.0]
WIDE = UnitPrior(mass=1.0, variance=100.0, noise=1.0)


def test_costs_by_hand():
    """One unit of value 2; a global unit that one of two other networks has, at value 3; J = 3, all precisions 1.

    Existing: (2 + 3)^2 / 3 - 3^2 / 2 + 2 log(1 / 2). New: 2^2 / 2 - 2 log(1 * 3 / gamma).
    """
    prior, one = UnitPrior(mass=0.5), np.ones(1)
    found = costs(np.array([[2.0]]), 1.0, np.array([[3.0]]), one, one, 3, 5, prior)
    expected = [-(25 / 3 - 9 / 2 + 2 * math.log(1 / 2)), -(2 - 2 * math.log(3 / 0.5))]
    np.testing.assert_allclose(found, [expected])


def test_the_best_of_all_assignments_is_found():
    """For two networks of three units, against the objective of every assignment of the second."""
    generator = np.random.default_rng(0)
    one, other = generator.normal(size=(2, 3, 2))
    prior = UnitPrior(mass=2.0, variance=1.5, noise=0.5)
    inverse, precision = 1 / prior.variance, 1 / prior.noise

    def objective(slots):
        total, new = 0.0, 0
        for unit in range(6):
            mine = one[unit] if unit < 3 else np.zeros(2)
            count = int(unit < 3)
            if unit in slots:
                mine, count = mine + other[slots.index(unit)], count + 1
            total += precision**2 * float(mine @ mine) / (inverse + precision * count)
            if unit >= 3 and unit in slots:
                new += 1
                total -= 2 * math.log(new * 2 / prior.mass)
        return total

    best = max(itertools.permutations(range(6), 3), key=objective)
    found = match_units([one, other], [1.0, 1.0], 6, prior, max_sweeps=0)
    assert found[0].tolist() == [0, 1, 2]
    assert objective(tuple(found[1].tolist())) == pytest.approx(objective(best))


def test_units_that_only_one_network_has_stay_apart_if_there_is_room():
    networks = [np.array([RIGHT, UP]), np.array([DOWN, RIGHT])]
    found = match_units(networks, [1.0, 1.0], 4, WIDE)
    assert found[0][0] == found[1][1]
    assert len({*found[0].tolist(), *found[1].tolist()}) == 3


def test_without_room_every_unit_is_matched():
    networks = [np.array([RIGHT, UP]), np.array([[0.0, -3.0], RIGHT])]
    found = match_units(networks, [1.0, 1.0], 2, WIDE)
    assert found[0].tolist() == [0, 1]
    assert found[1].tolist() == [1, 0]


def test_networks_with_fewer_units_leave_the_rest_alone():
    networks = [np.array([RIGHT, UP, DOWN]), np.array([DOWN])]
    assert match_units(networks, [1.0, 1.0], 3, WIDE)[1].tolist() == [2]


def test_permuted_copies_are_recovered():
    generator = np.random.default_rng(1)
    units = generator.normal(size=(16, 6))
    orders = [np.arange(16), generator.permutation(16), generator.permutation(16)]
    found = match_units([units[order] for order in orders], [3.0, 2.0, 1.0], 16, UnitPrior())
    for order, slots in zip(orders, found, strict=True):
        np.testing.assert_array_equal(slots, order)


def test_more_units_than_slots_are_rejected():
    with pytest.raises(ValueError, match="max_units expects the number of units of each network or more, 2, got 1"):
        match_units([np.ones((2, 1))], [1.0], 1, UnitPrior())
