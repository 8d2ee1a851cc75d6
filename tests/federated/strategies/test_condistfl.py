import pytest
import torch

from mtmedformer_monai.federated.strategies import ConDistFL, FedAvg
from mtmedformer_monai.federated.teaching import EVERY_TASK
from tests.federated.strategies.exact_clients import (
    assert_any_order_is_the_same,
    assert_it_resumes_after_restoring,
    federate,
    play,
    random_client,
    three_tensors,
)

SITES = [random_client(seed) for seed in range(3)]


def test_the_server_averages_bit_for_bit():
    taught, plain = (federate(each, three_tensors(), SITES, 3)[0] for each in (ConDistFL(), FedAvg()))
    assert all(torch.equal(value, plain.weights()[name]) for name, value in taught.weights().items())


def test_the_broadcast_teaches_with_a_weight_that_rises():
    strategy = ConDistFL(weight=0.8, ramp_rounds=2, temperature=3.0)
    server, rule = strategy.server(three_tensors()), strategy.client()
    weights = []
    for _ in range(4):
        start = rule.receive(server.broadcast())
        found = rule.teaching()
        weights.append(found.weight if found else 0.0)
        if found:
            assert found.temperature == 3.0
            assert torch.equal(found.teachers[EVERY_TASK].mean["encoder"], start["encoder"])
        play(server, [rule], SITES[:1])
    assert weights == pytest.approx([0.0, 0.4, 0.8, 0.8])


def test_order_of_clients_never_matters():
    assert_any_order_is_the_same(ConDistFL(), three_tensors(), SITES)


def test_it_resumes_after_restoring():
    assert_it_resumes_after_restoring(ConDistFL(), three_tensors(), SITES)


@pytest.mark.parametrize("settings", [{"weight": -1.0}, {"ramp_rounds": 0}, {"temperature": 0.0}])
def test_settings_out_of_range_are_rejected(settings):
    with pytest.raises(ValueError, match="temperature a number above 0"):
        ConDistFL(**settings)
