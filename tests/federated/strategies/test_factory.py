import pytest
import torch

from mtmedformer_monai.federated.strategies import STRATEGIES, make_strategy
from mtmedformer_monai.federated.strategy import LocalTraining
from mtmedformer_monai.federated.wire import num_bytes
from mtmedformer_monai.layers.permutation_groups import PermutationGroups
from tests.federated.strategies.exact_clients import random_client, three_tensors


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_federates_with_its_defaults(name):
    strategy = make_strategy(name)
    server, rule = strategy.server(three_tensors()), strategy.client(PermutationGroups({}, {}))
    for _ in range(2):
        server.add(rule.send(random_client(0)(rule, rule.receive(server.broadcast()))))
        server.close_round()
    moved = {key for key, value in server.weights().items() if not torch.equal(value, three_tensors()[key])}
    assert moved == (set() if name == "local" else {"encoder", "lung"})


def test_settings_reach_the_strategy():
    rule = make_strategy("fedprox", proximal=2.0).client()
    rule.receive({"mean/w": torch.zeros(1)})
    assert rule.correct("w", torch.ones(1), torch.zeros(1), 1).item() == 2.0


def test_another_name_is_rejected_with_the_choices():
    with pytest.raises(ValueError, match=r"expects one of bayesian, fedavg, .*, local, got 'fedsgd'"):
        make_strategy("fedsgd")


def test_another_setting_is_rejected_with_the_choices():
    with pytest.raises(ValueError, match="'bayesian' has no setting 'alpha'; it has isotropic, curvature"):
        make_strategy("bayesian", alpha=1)
    with pytest.raises(ValueError, match="it has none"):
        make_strategy("fedavg", alpha=1)


@pytest.mark.parametrize(("compress", "bytes_a_weight"), [("", 8), ("float32", 5), ("float16", 3)])
def test_messages_are_compressed_by_a_setting(compress, bytes_a_weight):
    """A weight takes its mean and its precision: 4 + 4 bytes, 4 + 1, or 2 + 1.

    Scales are 16 or 20 bytes per tensor, and moments 36.
    """
    strategy, start = make_strategy("bayesian", compress=compress, curvature=1.0), {"w": torch.zeros(1000)}
    server, rule = strategy.server(start), strategy.client()
    rule.receive(server.broadcast())
    weights, square = torch.randn(1000), torch.rand(1000)
    sent = rule.send(LocalTraining({"w": weights}, {"w": 10}, {"w": square}))
    assert 0 <= num_bytes(sent) - 1000 * bytes_a_weight <= 56
    server.add(sent)
    server.close_round()
    assert not torch.equal(server.weights()["w"], start["w"])


def test_another_compression_is_rejected_with_the_choices():
    with pytest.raises(ValueError, match="compress expects one of float32, float16 or nothing, got 'zip'"):
        make_strategy("fedavg", compress="zip")
