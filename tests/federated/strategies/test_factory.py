import pytest
import torch

from mtmedformer_monai.federated.strategies import STRATEGIES, make_strategy
from mtmedformer_monai.layers.permutation_groups import PermutationGroups
from tests.federated.strategies.local_training import random_site, three_tensors


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_federates_with_its_defaults(name):
    strategy = make_strategy(name)
    server, rule = strategy.server(three_tensors()), strategy.site(PermutationGroups({}, {}))
    for _ in range(2):
        server.add(rule.send(random_site(0)(rule, rule.receive(server.broadcast()))))
        server.close_round()
    moved = {key for key, value in server.weights().items() if not torch.equal(value, three_tensors()[key])}
    assert moved == (set() if name == "local" else {"encoder", "lung"})


def test_settings_reach_the_strategy():
    rule = make_strategy("fedprox", proximal=2.0).site()
    rule.receive({"mean/w": torch.zeros(1)})
    assert rule.correct("w", torch.ones(1), torch.zeros(1), 1).item() == 2.0


def test_another_name_is_told_the_choices():
    with pytest.raises(ValueError, match=r"expects one of bayesian, fedavg, .*, local, got 'fedsgd'"):
        make_strategy("fedsgd")


def test_another_setting_is_told_the_choices():
    with pytest.raises(ValueError, match="'bayesian' has no setting 'alpha'; it has isotropic, curvature"):
        make_strategy("bayesian", alpha=1)
    with pytest.raises(ValueError, match="it has none"):
        make_strategy("fedavg", alpha=1)
