import pytest
import torch

from mtmedformer_monai.federated.pvi import PVI
from mtmedformer_monai.federated.strategies import Compressed, FedAvg, FedDyn, Scaffold
from mtmedformer_monai.federated.strategy import LocalTraining
from tests.federated.strategies.exact_clients import (
    assert_any_order_is_the_same,
    assert_it_resumes_after_restoring,
    federate,
    logistic_clients,
    pooled_optimum,
    random_client,
    three_tensors,
)


def strategy(half_mean: bool = True, **settings) -> Compressed:
    return Compressed(PVI(coded_precision=True, **settings), half_mean)


@pytest.mark.parametrize("half_mean", [False, True], ids=["float32 mean", "float16 mean"])
def test_logistic_sites_reach_the_pooled_optimum_through_few_bytes(half_mean):
    sites = logistic_clients()
    chosen = strategy(half_mean, isotropic=0.3, curvature=0.5, prior_precision=0.5, rate=0.5)
    server, _ = federate(chosen, {"w": torch.zeros(3)}, sites, 70)
    torch.testing.assert_close(server.weights()["w"].double(), pooled_optimum(sites, 0.5), rtol=0, atol=5e-5)


def test_federated_averaging_is_the_same_bit_for_bit():
    sites = [random_client(seed) for seed in range(3)]
    one, other = (federate(each, three_tensors(), sites, 2)[0].weights() for each in (Compressed(FedAvg()), FedAvg()))
    assert all(torch.equal(one[name], other[name]) for name in other)


def test_a_site_that_withdraws_leaves_nothing_behind():
    server, rules = federate(strategy(prior_precision=0.05), three_tensors(), [random_client(0)], 5)
    server.add(rules[0].withdraw())
    server.close_round()
    for name, value in three_tensors().items():
        torch.testing.assert_close(server.weights()[name], value, rtol=0, atol=1e-4)
        torch.testing.assert_close(server.broadcast()[f"precision/{name}"], torch.full((3, 2), 0.05))


@pytest.mark.parametrize(
    ("inner", "left"),
    [(FedAvg(), []), (Scaffold(), ["w"]), (FedDyn(), ["w"])],
    ids=["average", "scaffold", "feddyn"],
)
def test_a_site_that_leaves_an_average_sends_no_rounding_error_of_it(inner, left):
    """Of the average the server keeps nothing, and would refuse a mean without its weight."""
    start, weights = {"w": torch.zeros(2)}, {"w": torch.tensor([0.1, 0.3])}
    sites = [lambda *_: LocalTraining(weights, {"w": 7}, num_steps=1, learning_rate=1.0)]
    server, rules = federate(Compressed(inner, half_mean=True), start, sites)
    found = rules[0].withdraw()
    assert list(found) == [f"plain:{kind}/{name}" for kind in ("control", "count") for name in left]
    server.add(found)
    server.close_round()
    assert list(server.broadcast()) == ["mean/w"]


def test_order_of_clients_never_matters():
    assert_any_order_is_the_same(strategy(), three_tensors(), [random_client(seed) for seed in range(3)])


def test_it_resumes_after_restoring():
    assert_it_resumes_after_restoring(strategy(), three_tensors(), [random_client(seed) for seed in range(3)])
