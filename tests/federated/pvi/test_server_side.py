import logging

import pytest
import torch

from mtmedformer_monai.federated.pvi import PVI, step_guard
from tests.federated.pvi.test_strategy import linear_client
from tests.federated.strategies.exact_clients import federate


def server(**settings):
    return PVI(**{"prior_precision": 0.5, **settings}).server({"w": torch.tensor([2.0, 4.0])})


def change(precision_mean: float, precision: float) -> dict[str, torch.Tensor]:
    return {"precision_mean/w": torch.full((2,), precision_mean), "precision/w": torch.full((2,), precision)}


def test_the_posterior_by_hand():
    rule = server()
    rule.add(change(3.0, 1.0))
    rule.add(change(1.0, 0.5))
    rule.close_round()
    assert rule.broadcast()["precision/w"].tolist() == [2.0, 2.0]
    assert rule.weights()["w"].tolist() == [2.5, 3.0]  # (3 + 1 + 0.5 * 2) / 2, (3 + 1 + 0.5 * 4) / 2


def test_precision_never_falls_below_the_priors():
    rule = server()
    rule.add(change(3.0, 1.0))
    rule.close_round()
    sane = rule.weights()["w"]
    rule.add(change(7.0, -30.0))
    rule.close_round()
    assert rule.broadcast()["precision/w"].tolist() == [0.5, 0.5]
    torch.testing.assert_close(rule.weights()["w"], sane)


@pytest.mark.parametrize(
    ("message", "error", "match"),
    [
        ({"precision_mean/v": torch.ones(2), "precision/v": torch.ones(2)}, KeyError, "no tensor 'precision_mean/v'"),
        ({"precision_mean/w": torch.ones(2)}, KeyError, r"expects precision_mean and precision, got"),
        (
            {"precision_mean/w": torch.ones(3), "precision/w": torch.ones(3)},
            ValueError,
            r"expects the shape \(2,\), got \(3,\)",
        ),
        (change(float("nan"), 1.0), ValueError, "training diverged"),
    ],
    ids=["unknown", "half", "shape", "not finite"],
)
def test_a_message_that_does_not_fit_is_refused_whole(message, error, match):
    rule = server()
    before = rule.broadcast()
    with pytest.raises(error, match=match):
        rule.add(message)
    rule.close_round()
    assert all(torch.equal(value, before[name]) for name, value in rule.broadcast().items())


def test_the_default_rate_is_steady_where_a_fixed_one_overshoots(caplog):
    sites = [linear_client([1.0], [float(index)], reported=[0.1]) for index in range(6)]
    strategy = PVI(isotropic=0.0, curvature=1.0, average=0.0, prior_precision=0.05)
    with caplog.at_level(logging.WARNING):
        reached, _ = federate(strategy, {"w": torch.zeros(1)}, sites, 30)
    assert abs(reached.weights()["w"].item() - 15 / 6.05) < 1e-4
    assert not caplog.records


def overshooting(num_rounds: int) -> float:
    """Returns the error of six clients that report a tenth of their curvature, and so overshoot more in each round."""
    strategy = PVI(isotropic=0.0, curvature=1.0, average=0.0, rate=0.9, prior_precision=0.05)
    sites = [linear_client([1.0], [float(index)], reported=[0.1]) for index in range(6)]
    reached, _ = federate(strategy, {"w": torch.zeros(1)}, sites, num_rounds)
    return abs(reached.weights()["w"].item() - 15 / 6.05)


def test_divergence_is_damped_and_logged(caplog, monkeypatch):
    with caplog.at_level(logging.WARNING):
        assert overshooting(60) < 1e-3
    assert "may diverge. The rate is now" in caplog.text
    monkeypatch.setattr(step_guard, "GROWTH", float("inf"))
    assert overshooting(12) > 100.0
