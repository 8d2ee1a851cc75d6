import pytest
import torch

from mtmedformer_monai.federated.strategies import FedAvg, FedPA
from mtmedformer_monai.federated.strategy import LocalTraining
from tests.federated.strategies.exact_clients import (
    assert_any_order_is_the_same,
    assert_it_resumes_after_restoring,
    federate,
    random_client,
    three_tensors,
)


def path(*iterates: float, count: int = 1):
    """A client whose training follows these iterates."""

    def train(rule, start):
        for step, value in enumerate(iterates, start=1):
            rule.after_step({"w": torch.tensor([value])}, step, len(iterates))
        return LocalTraining({"w": torch.tensor([iterates[-1]])}, {"w": count})

    return train


def test_a_round_by_hand():
    """First site: samples 1 and 3, shrinkage 1: S = 1/2 + 1/2 * 2, delta = (0 - 2) / 1.5. Second: 8 alone."""
    strategy = FedPA(num_samples=2, burn_in=0.0, shrinkage=1.0)
    server, _ = federate(strategy, {"w": torch.zeros(1)}, [path(1.0, 3.0, count=3), path(8.0, count=1)])
    assert server.weights()["w"].item() == pytest.approx((3 * 2 / 1.5 + 8) / 4)


def test_the_servers_rate_scales_the_step():
    strategy = FedPA(num_samples=2, burn_in=0.0, shrinkage=1.0, server_rate=0.5)
    server, _ = federate(strategy, {"w": torch.ones(1)}, [path(2.0, 4.0)])
    assert server.weights()["w"].item() == pytest.approx(1.0 + 0.5 * 2 / 1.5)


def test_first_rounds_are_plain_averaging_on_request():
    sites = [path(1.0, 3.0)]
    server, rules = federate(FedPA(2, 0.0, burn_in_rounds=1, shrinkage=1.0), {"w": torch.zeros(1)}, sites)
    assert server.weights()["w"].item() == 3.0
    assert rules[0].state_dict() == {"num_rounds": 1}


def test_without_samples_it_is_federated_averaging():
    sites = [lambda rule, start: LocalTraining({"w": start["w"] + 2.0}, {"w": 3})]
    one, other = (federate(each, {"w": torch.ones(1)}, sites)[0].weights() for each in (FedPA(), FedAvg()))
    assert one == other


def test_what_is_not_trained_stays_bit_for_bit():
    server, _ = federate(FedPA(), three_tensors(), [random_client(0), random_client(1)], 3)
    assert torch.equal(server.weights()["opacity"], three_tensors()["opacity"])


def test_order_of_clients_never_matters():
    assert_any_order_is_the_same(FedPA(), three_tensors(), [random_client(seed) for seed in range(3)])


def test_it_resumes_after_restoring():
    strategy = FedPA(burn_in_rounds=2)
    assert_it_resumes_after_restoring(strategy, three_tensors(), [random_client(seed) for seed in range(3)])


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"num_samples": 0}, "num_samples"), ({"burn_in": 1.0}, "burn_in"), ({"shrinkage": -1.0}, "shrinkage")],
)
def test_settings_that_sample_nothing_are_refused(settings, message):
    with pytest.raises(ValueError, match=f"{message} expects"):
        FedPA(**settings)
