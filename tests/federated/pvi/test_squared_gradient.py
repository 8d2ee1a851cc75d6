import pytest
import torch
from torch import nn

from mtmedformer_monai.federated.pvi.squared_gradient import SquaredGradient, exact_squared_gradient


def make_problem():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))
    inputs = torch.randn(512, 6)
    labels = (inputs[:, :1] * inputs[:, 1:2] + 0.5 * torch.randn(512, 1) > 0).float()
    return network, torch.cat([inputs, labels], dim=1)


def loss(network, rows):
    return nn.functional.binary_cross_entropy_with_logits(network(rows[:, :6]), rows[:, 6:])


@pytest.mark.parametrize("batch", [1, 8, 32])
def test_agrees_with_the_exact_diagonal_of_a_small_network(batch):
    network, rows = make_problem()
    exact = exact_squared_gradient(network, rows.split(1), loss)
    estimator = SquaredGradient(rate=0.996)
    for _ in range(1000):
        network.zero_grad()
        loss(network, rows[torch.randint(len(rows), (batch,))]).backward()
        estimator.update({name: value.grad for name, value in network.named_parameters()}, batch)
    for name, value in estimator.estimate().items():
        ratio = value / exact[name]  # about 250 batches are looked back at: a few per cent of noise
        assert (ratio - 1).abs().max() < 0.35, name
        assert (ratio.mean() - 1).abs() < 0.1, name


def test_constant_gradients_have_no_variance():
    estimator = SquaredGradient()
    for _ in range(5):
        estimator.update({"w": torch.tensor([3.0])}, num_samples=16)
    assert estimator.estimate()["w"].item() == pytest.approx(9.0, rel=1e-5)


def test_one_step_gives_only_the_square():
    estimator = SquaredGradient()
    estimator.update({"w": torch.tensor([-2.0])}, num_samples=16)
    assert estimator.estimate()["w"].item() == pytest.approx(4.0)


def test_a_weight_that_joins_late_is_corrected_by_its_own_steps():
    estimator = SquaredGradient()
    for step in range(20):
        estimator.update({"a": torch.tensor([1.0])} | ({"b": torch.tensor([2.0])} if step > 16 else {}), 4)
    assert estimator.estimate()["b"].item() == pytest.approx(4.0, rel=1e-5)


def test_a_wrong_rate_is_named():
    with pytest.raises(ValueError, match="rate expects a number between 0 and 1, got 1"):
        SquaredGradient(rate=1)
