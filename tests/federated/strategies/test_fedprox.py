import pytest
import torch

from mtmedformer_monai.federated.strategies import FedAvg, FedProx
from tests.federated.strategies.exact_clients import (
    assert_any_order_is_the_same,
    assert_it_resumes_after_restoring,
    federate,
    random_client,
    three_tensors,
)


def test_the_proximal_gradient_by_hand():
    rule = FedProx(proximal=0.5).client()
    rule.receive({"mean/w": torch.tensor([2.0])})
    assert rule.correct("w", torch.tensor([6.0]), torch.tensor([1.0]), 7).tolist() == [3.0]  # 1 + 0.5 (6 - 2)


def test_without_the_term_it_is_federated_averaging():
    sites = [random_client(seed) for seed in range(3)]
    one, other = (federate(each, three_tensors(), sites, 2)[0].weights() for each in (FedProx(0.0), FedAvg()))
    assert all(torch.equal(one[name], other[name]) for name in other)


def test_order_of_clients_never_matters():
    assert_any_order_is_the_same(FedProx(), three_tensors(), [random_client(seed) for seed in range(3)])


def test_it_resumes_after_restoring():
    assert_it_resumes_after_restoring(FedProx(), three_tensors(), [random_client(seed) for seed in range(3)])


def test_a_negative_term_is_refused():
    with pytest.raises(ValueError, match=r"proximal expects 0 or more, got -1"):
        FedProx(-1)
