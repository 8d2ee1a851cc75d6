import pytest
import torch

from mtmedformer_monai.federated.strategies import FedAvg, FedDyn
from mtmedformer_monai.federated.strategy import LocalTraining
from tests.federated.strategies.exact_clients import (
    assert_any_order_is_the_same,
    assert_it_resumes_after_restoring,
    federate,
    logistic_clients,
    play,
    pooled_optimum,
    random_client,
    three_tensors,
)


def quadratic(optimum: float):
    """A client with the mean loss `(w - o)^2 / 2`, trained until the corrected gradient is 0."""

    def train(rule, start):
        zero, one = torch.zeros(1), torch.ones(1)
        constant = rule.correct("w", zero, zero - optimum, 1)
        slope = rule.correct("w", one, one - optimum, 1) - constant
        return LocalTraining({"w": -constant / slope}, {"w": 1})

    return train


def test_two_rounds_by_hand():
    """alpha 1, optima 0 and 4, from 0: sites reach 0 and 2, so g = 0 and -2, h = -(-1) ... = -1, and w = 1 - (-1)."""
    sites = [quadratic(0.0), quadratic(4.0)]
    server, rules = federate(FedDyn(alpha=1.0), {"w": torch.zeros(1)}, sites)
    assert server.weights()["w"].item() == 2.0
    rules[1].receive(server.broadcast())
    # at w = 3: gradient -1, less g = 2 (0 - 2) / 2 = -2, plus 3 - 2
    assert rules[1].correct("w", torch.tensor([3.0]), torch.tensor([-1.0]), 1).item() == 2.0
    play(server, rules, sites)
    assert server.weights()["w"].item() == 2.0  # the pooled optimum stays: sites reach 1 and 3... mean 2 + h / 1 of 0


def test_logistic_sites_reach_the_pooled_optimum_where_averaging_stalls():
    sites = logistic_clients()
    reached, averaged = (
        federate(each, {"w": torch.zeros(3)}, sites, 30)[0].weights()["w"].double()
        for each in (FedDyn(alpha=0.1), FedAvg())
    )
    torch.testing.assert_close(reached, pooled_optimum(sites), rtol=0, atol=1e-5)
    assert (averaged - pooled_optimum(sites)).abs().max() > 0.05


def test_what_is_not_trained_stays_bit_for_bit():
    server, _ = federate(FedDyn(), three_tensors(), [random_client(0), random_client(1)], 3)
    assert torch.equal(server.weights()["opacity"], three_tensors()["opacity"])


def test_rows_that_no_client_of_a_round_knows_stay_bit_for_bit():
    """Of two classes, both sites know both in the first round, and only the first class in the second."""

    def step(unlearned):
        def train(rule, start):
            return LocalTraining({"w": start["w"] + 1.0}, {"w": 1}, unlearned=unlearned)

        return [train, train]

    server, rules = federate(FedDyn(), {"w": torch.zeros(2, 3)}, step({}))
    before = server.weights()["w"]
    play(server, rules, step({"w": torch.tensor([False, True])}))
    after = server.weights()["w"]
    assert torch.equal(after[1], before[1])
    assert (after[0] - before[0]).min() > 1.0  # the mean step, and the mean of the linear terms


def test_order_of_clients_never_matters():
    assert_any_order_is_the_same(FedDyn(), three_tensors(), [random_client(seed) for seed in range(3)])


def test_it_resumes_after_restoring():
    assert_it_resumes_after_restoring(FedDyn(), three_tensors(), [random_client(seed) for seed in range(3)])


def test_alpha_is_above_0():
    with pytest.raises(ValueError, match="alpha expects a number above 0, got 0"):
        FedDyn(0)
