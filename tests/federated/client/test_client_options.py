"""Options in a site's own file are checked when they are read."""

from __future__ import annotations

import math

import pytest

from mtmedformer_monai.federated.client.client_options import ClientOptions


@pytest.mark.parametrize(("name", "near"), [("ownshare", "own_share"), ("Seed", "seed")])
def test_an_unknown_option_is_named_with_the_nearest_and_all_others(name, near):
    with pytest.raises(
        ValueError, match=f"no option '{name}'; did you mean '{near}'.*optimizer, start_weights, .*budget"
    ):
        ClientOptions.from_dict({"seed": 1, name: 1})


def test_an_option_that_resembles_none_is_refused_without_a_suggestion():
    with pytest.raises(ValueError, match=r"no option 'zzz'\. Its options are optimizer"):
        ClientOptions.from_dict({"zzz": 1})


def test_a_client_refuses_unknown_options(stock):
    with pytest.raises(ValueError, match="no option 'ownshare'"):
        stock(options={"ownshare": 1.0})


@pytest.mark.parametrize("share", [-1, -0.1, math.nan, math.inf, "1"])
def test_a_share_that_is_no_number_of_0_or_more_is_refused_at_once(share):
    with pytest.raises(ValueError, match=f"own_share expects a finite number of 0 or more, got {share!r}"):
        ClientOptions(own_share=share)


def test_leave_is_true_or_false():
    with pytest.raises(ValueError, match="leave expects true or false, got 'no'"):
        ClientOptions.from_dict({"leave": "no"})


@pytest.mark.parametrize("share", [0, 2.5])
def test_shares_of_0_or_more_are_accepted(share):
    assert ClientOptions.from_dict({"own_share": share}).own_share == share
