import math

import pytest
import torch

from mtmedformer_monai.federated.strategies import FedAdam, FedAvg, FedAvgM
from tests.federated.strategies.exact_clients import (
    assert_any_order_is_the_same,
    assert_it_resumes_after_restoring,
    federate,
    fixed,
    play,
    random_client,
    three_tensors,
)

SITES = [random_client(seed) for seed in range(3)]


def moving(step: float):
    """A client that moves its weight by a step."""

    def train(rule, start):
        return fixed({"w": start["w"].item() + step})(rule, start)

    return train


def test_momentum_by_hand():
    """Deltas 1, 1, -2 with momentum 0.5 and rate 2: moments 1, 1.5, -1.25."""
    server, rules = federate(FedAvgM(0.5, 2.0), {"w": torch.zeros(1)}, [moving(1.0)])
    assert server.weights()["w"].item() == pytest.approx(2.0)
    play(server, rules, [moving(1.0)])
    assert server.weights()["w"].item() == pytest.approx(5.0)
    play(server, rules, [moving(-2.0)])
    assert server.weights()["w"].item() == pytest.approx(2.5)


def test_adam_by_hand():
    server, rules = federate(FedAdam(0.1, 0.5, 0.75, 0.2), {"w": torch.zeros(1)}, [moving(2.0)])
    first, second = 0.5 * 2.0, 0.75 * 0.04 + 0.25 * 4.0
    expected = 0.1 * first / (math.sqrt(second) + 0.2)
    assert server.weights()["w"].item() == pytest.approx(expected)
    play(server, rules, [moving(-1.0)])
    first, second = 0.5 * first - 0.5, 0.75 * second + 0.25
    assert server.weights()["w"].item() == pytest.approx(expected + 0.1 * first / (math.sqrt(second) + 0.2))


def test_without_momentum_it_is_federated_averaging():
    found, expected = (federate(each, three_tensors(), SITES, 3)[0].weights() for each in (FedAvgM(0.0), FedAvg()))
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)


@pytest.mark.parametrize("strategy", [FedAvgM(), FedAdam()], ids=["momentum", "adam"])
def test_order_never_matters_and_it_resumes(strategy):
    assert_any_order_is_the_same(strategy, three_tensors(), SITES)
    assert_it_resumes_after_restoring(strategy, three_tensors(), SITES)


@pytest.mark.parametrize("strategy", [FedAvgM(), FedAdam()], ids=["momentum", "adam"])
def test_weights_that_nobody_trains_and_rounds_without_clients_change_nothing(strategy):
    server, _ = federate(strategy, three_tensors(), SITES, 2)
    assert torch.equal(server.weights()["opacity"], three_tensors()["opacity"])
    before = server.weights()
    server.close_round()
    assert all(torch.equal(value, before[name]) for name, value in server.weights().items())


def test_statistics_are_plain_means():
    start = {"w": torch.zeros(1), "norm.running_mean": torch.zeros(1)}
    sites = [fixed({"w": 1.0, "norm.running_mean": 1.0}), fixed({"w": 1.0, "norm.running_mean": 3.0})]
    server, _ = federate(FedAvgM(0.9, 0.5), start, sites)
    assert server.weights()["norm.running_mean"].item() == 2.0
    assert server.weights()["w"].item() == 0.5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FedAvgM(momentum=1.0), "momentum expects"),
        (lambda: FedAvgM(learning_rate=0.0), "learning_rate expects"),
        (lambda: FedAdam(beta2=1.0), "beta2 expects"),
        (lambda: FedAdam(tau=0.0), "tau expects"),
    ],
)
def test_settings_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
