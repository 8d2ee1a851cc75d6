from __future__ import annotations

import pytest
import torch

from mtmedformer_monai.federated.client.plain_clients import PlainClients

WEIGHTS = {"a.weight": torch.tensor([2.0, 4.0])}


@pytest.mark.parametrize(
    ("message", "expected"),
    [(WEIGHTS, True), ({"precision_mean/a.weight": torch.zeros(1)}, False), ({}, False)],
    ids=str,
)
def test_plain_messages_are_recognized_by_names(message, expected):
    assert PlainClients.is_plain(message) == expected


def test_a_gaussian_of_one_precision_by_hand():
    terms = PlainClients(0.5, sends_changes=False).terms("a", WEIGHTS, None, images=3)
    assert terms["precision_mean/a.weight"].tolist() == [3.0, 6.0]
    assert terms["precision/a.weight"].tolist() == [1.5, 1.5]


def test_differences_are_to_what_was_broadcast():
    terms = PlainClients(1.0, sends_changes=False).terms("a", WEIGHTS, {"a.weight": torch.tensor([1.0, 1.0])}, images=1)
    assert terms["precision_mean/a.weight"].tolist() == [3.0, 5.0]


def test_changes_are_to_what_was_accepted_last():
    sites = PlainClients(1.0, sends_changes=True)
    sites.terms("a", WEIGHTS, None, images=2)
    sites.accept("a")
    sites.terms("a", {"a.weight": torch.zeros(2)}, None, images=2)  # refused by the server: never accepted
    change = sites.terms("a", {"a.weight": torch.tensor([3.0, 4.0])}, None, images=2)
    assert change["precision_mean/a.weight"].tolist() == [2.0, 0.0]
    assert change["precision/a.weight"].tolist() == [0.0, 0.0]
    again = PlainClients(1.0, sends_changes=True)
    again.load_state_dict(sites.state_dict())
    assert again.terms("a", WEIGHTS, None, images=2)["precision_mean/a.weight"].tolist() == [0.0, 0.0]
