import pytest
import torch

from mtmedformer_monai.federated.strategies import Scaffold
from mtmedformer_monai.federated.strategy import LocalTraining
from tests.federated.strategies.exact_clients import (
    assert_any_order_is_the_same,
    assert_it_resumes_after_restoring,
    federate,
    play,
    random_client,
    three_tensors,
)


def quadratic(curvature: float, optimum: float, count: int = 1, steps: int = 2, rate: float = 0.1):
    """A client with the mean loss `a (w - o)^2 / 2`, trained by plain gradient descent."""

    def train(rule, start):
        weight = start["w"].clone()
        for _ in range(steps):
            weight = weight - rate * rule.correct("w", weight, curvature * (weight - optimum), count)
        return LocalTraining({"w": weight}, {"w": count}, num_steps=steps, learning_rate=rate)

    return train


def test_two_rounds_by_hand():
    """One step of rate 0.5 a round on (w - 1)^2 / 2 and (w - 5)^2 / 2, from 0, equal images."""
    sites = [quadratic(1.0, 1.0, steps=1, rate=0.5), quadratic(1.0, 5.0, steps=1, rate=0.5)]
    server, rules = federate(Scaffold(), {"w": torch.zeros(1)}, sites)
    broadcast = server.broadcast()
    assert broadcast["mean/w"].item() == 1.5  # of 0.5 and 2.5
    assert broadcast["control/w"].item() == -3.0  # of the gradients -1 and -5
    rules[0].receive(broadcast)
    assert rules[0].correct("w", torch.zeros(1), torch.tensor([0.5]), 1).item() == -1.5  # 0.5 - (-1) + (-3)
    play(server, rules, sites)
    assert server.weights()["w"].item() == 2.25  # both go by -0.5 * -1.5
    assert server.broadcast()["control/w"].item() == -1.5  # the mean gradient at 1.5


def test_drift_is_taken_out_where_averaging_stalls():
    sites = [quadratic(4.0, 0.0, count=10, steps=5), quadratic(1.0, 6.0, count=30, steps=5)]
    server, _ = federate(Scaffold(), {"w": torch.zeros(1)}, sites, 60)
    torch.testing.assert_close(server.weights()["w"], torch.tensor([180.0 / 70.0]), rtol=1e-5, atol=0)


def test_without_steps_controls_stay():
    rule = Scaffold().client()
    rule.receive({"mean/w": torch.zeros(1)})
    assert set(rule.send(LocalTraining({"w": torch.ones(1)}, {"w": 3}))) == {"precision_mean/w", "precision/w"}


def test_what_is_not_trained_stays_bit_for_bit_and_has_no_control():
    server, _ = federate(Scaffold(), three_tensors(), [random_client(0), random_client(1)], 3)
    assert torch.equal(server.weights()["opacity"], three_tensors()["opacity"])
    assert "control/opacity" not in server.broadcast()


def test_order_of_clients_never_matters():
    assert_any_order_is_the_same(Scaffold(), three_tensors(), [random_client(seed) for seed in range(3)])


def test_it_resumes_after_restoring():
    assert_it_resumes_after_restoring(Scaffold(), three_tensors(), [random_client(seed) for seed in range(3)])


def test_clients_of_a_round_share_one_correction_whoever_has_answered_before():
    """Algorithm 1 on two quadratics, with a broadcast to each client in turn, as `aggregator.py` shows."""
    slopes, optima, rate, steps = (1.0, 4.0), (3.0, -1.0), 0.05, 4
    server, rules = Scaffold().server({"w": torch.zeros(1)}), [Scaffold().client() for _ in slopes]
    x, c, own = 0.0, 0.0, [0.0, 0.0]
    for _ in range(3):
        ends, new = [], []
        for k, (slope, optimum) in enumerate(zip(slopes, optima, strict=True)):
            y, w = x, rules[k].receive(server.broadcast())["w"].clone()
            for _ in range(steps):
                y -= rate * (slope * (y - optimum) - own[k] + c)
                w -= rate * rules[k].correct("w", w, slope * (w - optimum), 10)
            ends.append(y)
            new.append(own[k] - c + (x - y) / (steps * rate))
            server.add(rules[k].send(LocalTraining({"w": w}, {"w": 10}, num_steps=steps, learning_rate=rate)))
        server.close_round()
        x, own, c = sum(ends) / 2, new, sum(new) / 2
        assert server.weights()["w"].item() == pytest.approx(x, abs=1e-5)
