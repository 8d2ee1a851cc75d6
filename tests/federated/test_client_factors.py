"""A withdrawal is recognized by what it does, so that nothing else can pass for one."""

from __future__ import annotations

import pytest
import torch

from mtmedformer_monai.federated.client_factors import ClientFactors


def change(mean, precision, task="lung", **others):
    """Returns the change of a factor of two weights."""
    given = {"precision_mean/w": torch.tensor(mean), "precision/w": torch.full((2,), precision)}
    tags = {f"group/{task}": torch.tensor(1.0), "setting/prior_number": torch.tensor(2.0)}
    return {**given, **tags, **{f"{kind}/w": value for kind, value in others.items()}}


@pytest.fixture
def factors():
    """A client that has sent the precision 4 and the precision-weighted means 3 and 5."""
    factors = ClientFactors()
    factors.add("a", change([2.0, 6.0], 3.0))
    factors.add("a", change([1.0, -1.0], 1.0))
    return factors


def test_a_client_takes_back_the_sum_of_its_changes(factors):
    again = ClientFactors()
    again.load_state_dict(factors.state_dict())
    for each in (factors, again):
        assert each.is_withdrawal("a", change([-3.0, -5.0], -4.0))
        assert each.is_withdrawal("a", change([-3.0001, -5.0], -4.0))  # rounding
        each.add("a", change([-3.0, -5.0], -4.0))
        each.add("a", change([7.0, 7.0], 9.0))  # it joins again
        assert each.is_withdrawal("a", change([-7.0, -7.0], -9.0))
        assert not each.is_withdrawal("a", change([-3.0, -5.0], -4.0))


@pytest.mark.parametrize(
    ("client", "message"),
    [
        ("b", change([-3.0, -5.0], -4.0)),
        ("a", change([-3.0, -5.0], -2.0)),
        ("a", change([-3.0, 50.0], -4.0)),
        ("a", change([-3.0, -5.0], -4.0, task="opacity")),
        ("a", change([-3.0, -5.0], -4.0, moments=torch.ones(9))),
        ("a", change([-3.0, -5.0], -4.0) | {"precision_mean/v": torch.ones(1), "precision/v": torch.zeros(1)}),
        ("a", {"group/lung": torch.tensor(1.0)}),
    ],
    ids=["another client", "a part", "another mean", "other tasks", "more kinds", "another weight", "nothing"],
)
def test_nothing_else_is_a_withdrawal(factors, client, message):
    assert not factors.is_withdrawal(client, message)


def test_what_remains_by_rounding_does_not_add_up(factors):
    """A client that withdraws again and again leaves at most what it may leave once."""
    leaves = change([-2.996, -5.0], -4.0)  # 0.004 of a mean of 3, where 0.006 counts as rounding
    assert factors.is_withdrawal("a", leaves)
    factors.add("a", leaves)
    factors.add("a", change([3.0, 5.0], 4.0))
    assert not factors.is_withdrawal("a", leaves)


def test_factors_that_have_ended_are_forgotten(factors):
    factors.forget()
    assert not factors.is_withdrawal("a", change([-3.0, -5.0], -4.0))
    assert factors.state_dict() == {}
