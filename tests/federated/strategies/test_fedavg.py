import torch

from mtmedformer_monai.federated.strategies import FedAvg
from tests.federated.strategies.exact_clients import (
    assert_any_order_is_the_same,
    assert_it_resumes_after_restoring,
    federate,
    fixed,
    random_client,
    three_tensors,
)


def test_a_mean_by_images():
    server, _ = federate(FedAvg(), {"w": torch.zeros(1)}, [fixed({"w": 1.0}, 10), fixed({"w": 5.0}, 30)])
    assert server.weights()["w"].tolist() == [4.0]


def test_weights_that_nobody_trained_stay_bit_for_bit():
    server, _ = federate(FedAvg(), three_tensors(), [random_client(0), random_client(1)], 3)
    assert torch.equal(server.weights()["opacity"], three_tensors()["opacity"])


def test_order_of_clients_never_matters():
    assert_any_order_is_the_same(FedAvg(), three_tensors(), [random_client(seed) for seed in range(3)])


def test_it_resumes_after_restoring():
    assert_it_resumes_after_restoring(FedAvg(), three_tensors(), [random_client(seed) for seed in range(3)])
