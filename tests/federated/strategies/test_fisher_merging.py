import pytest
import torch

from mtmedformer_monai.federated.strategies import FisherMerging
from tests.federated.strategies.exact_clients import (
    assert_any_order_is_the_same,
    assert_it_resumes_after_restoring,
    federate,
    fixed,
    random_client,
    three_tensors,
)


def site(value: float, count: int, square: float):
    return fixed({"w": value}, count, squared_gradient={"w": torch.tensor([square])})


def test_a_mean_by_images_and_fisher_information():
    server, _ = federate(FisherMerging(), {"w": torch.zeros(1)}, [site(1.0, 10, 3.0), site(5.0, 5, 2.0)])
    assert server.weights()["w"].item() == pytest.approx((30 * 1.0 + 10 * 5.0) / 40)


def test_weights_with_a_flat_loss_have_their_plain_mean():
    server, _ = federate(FisherMerging(), {"w": torch.zeros(1)}, [site(1.0, 10, 0.0), site(5.0, 30, 0.0)])
    assert server.weights()["w"].item() == pytest.approx(4.0)


def test_squared_gradients_are_asked_for():
    assert FisherMerging().client().needs_squared_gradient


def test_what_is_not_trained_stays_bit_for_bit():
    server, _ = federate(FisherMerging(), three_tensors(), [random_client(0), random_client(1)], 3)
    assert torch.equal(server.weights()["opacity"], three_tensors()["opacity"])


def test_order_of_clients_never_matters():
    assert_any_order_is_the_same(FisherMerging(), three_tensors(), [random_client(seed) for seed in range(3)])


def test_it_resumes_after_restoring():
    assert_it_resumes_after_restoring(FisherMerging(), three_tensors(), [random_client(seed) for seed in range(3)])


def test_a_floor_is_above_0():
    with pytest.raises(ValueError, match="floor expects a number above 0, got 0"):
        FisherMerging(0)
