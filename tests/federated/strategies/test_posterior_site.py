import logging

import pytest
import torch

from mtmedformer_monai.federated.strategies import PosteriorSites
from mtmedformer_monai.federated.strategy import LocalTraining

BROADCAST = {"mean/w": torch.tensor([2.0]), "precision/w": torch.tensor([4.0]), "rate/w": torch.tensor(0.5)}


def site(**settings):
    return PosteriorSites(**{"isotropic": 0.1, "curvature": 3.0, "average": 0.5, **settings}).site()


def test_the_first_round_by_hand():
    """Ten images, F = 2: H = 10 (0.1 + 6) = 61. No factor yet, so C = 4, and the pull's gradient at 3 is 4 (3 - 2)."""
    rule = site()
    assert rule.receive(BROADCAST) == {"w": torch.tensor([2.0])}
    assert rule.correct("w", torch.tensor([3.0]), torch.tensor([1.0]), 10).item() == pytest.approx(1.4)
    message = rule.send(LocalTraining({"w": torch.tensor([3.0])}, {"w": 10}, {"w": torch.tensor([2.0])}))
    assert message["precision/w"].item() == pytest.approx(0.5 * 61)
    assert message["shift/w"].item() == pytest.approx(0.5 * (61 * 3 + 4))
    assert rule.own_evidence() == message


def test_the_second_round_by_hand():
    """From the factor (10, 5), in a posterior of precision 9 and mean 1: C = 4, and e = 9 - 10 = -1."""
    rule = site(curvature=0.0)
    rule.load_state_dict({"own": {"w": [torch.tensor([10.0]), torch.tensor([5.0])]}, "squares": {}})
    rule.receive({"mean/w": torch.tensor([1.0]), "precision/w": torch.tensor([9.0]), "rate/w": torch.tensor(0.5)})
    assert rule.correct("w", torch.tensor([3.0]), torch.tensor([0.0]), 10).item() == pytest.approx((4 * 3 + 1) / 10)
    message = rule.send(LocalTraining({"w": torch.tensor([3.0])}, {"w": 20}))  # H = 2, shift = (4 + 2) 3 + 1 = 19
    assert message["precision/w"].item() == pytest.approx(0.5 * (2 - 5))
    assert message["shift/w"].item() == pytest.approx(0.5 * (19 - 10))
    assert rule.own_evidence()["shift/w"].item() == pytest.approx(14.5)


def test_squared_gradients_are_averaged_over_rounds():
    rule = site(isotropic=0.0, curvature=1.0)
    for square in (2.0, 4.0):
        rule.receive({"mean/w": torch.tensor([2.0]), "precision/w": torch.tensor([40.0]), "rate/w": torch.tensor(1.0)})
        rule.send(LocalTraining({"w": torch.tensor([2.0])}, {"w": 10}, {"w": torch.tensor([square])}))
    assert rule.own_evidence()["precision/w"].item() == pytest.approx(30.0)


@pytest.mark.parametrize(
    "training",
    [
        LocalTraining({"w": torch.tensor([torch.nan])}, {"w": 10}),
        LocalTraining({"w": torch.tensor([1.0])}, {"w": 10}, {"w": torch.tensor([torch.inf])}),
    ],
    ids=["weights", "squared gradient"],
)
def test_a_training_that_diverged_is_withheld_and_the_factor_kept(training, caplog):
    rule = site()
    rule.receive(BROADCAST)
    rule.send(LocalTraining({"w": torch.tensor([3.0])}, {"w": 10}, {"w": torch.tensor([2.0])}))
    before = rule.state_dict()
    rule.receive(BROADCAST)
    with caplog.at_level(logging.WARNING):
        assert rule.send(training) == {}
    assert rule.state_dict() == before
    assert "withheld" in caplog.text


def test_what_a_site_does_not_train_it_does_not_speak_of():
    rule = site()
    rule.receive({**BROADCAST, "mean/v": torch.zeros(1), "precision/v": torch.ones(1), "rate/v": torch.tensor(1.0)})
    sent = rule.send(LocalTraining({"w": torch.tensor([3.0]), "v": torch.zeros(1)}, {"w": 10, "v": 0}))
    assert set(sent) == {"shift/w", "precision/w"}
    gradient = torch.tensor([1.0])
    assert rule.correct("v", torch.tensor([3.0]), gradient, 0) is gradient


def test_coded_precision_is_what_a_byte_tells_and_the_mean_is_made_for_it():
    """Alone and without a pull, the factor's mean is the trained weight, however its precision was rounded."""
    rule = site(isotropic=0.0, curvature=1.0, coded_precision=True)
    squares, weights = torch.rand(100).exp(), torch.randn(100)
    rule.receive({"mean/w": torch.zeros(100), "precision/w": torch.zeros(100), "rate/w": torch.tensor(0.5)})
    sent = rule.send(LocalTraining({"w": weights}, {"w": 10}, {"w": squares}))
    assert len(sent["precision/w"].unique()) <= 127
    torch.testing.assert_close(sent["precision/w"], 5 * squares, rtol=0.01, atol=0)
    torch.testing.assert_close(sent["shift/w"] / sent["precision/w"], weights, rtol=1e-6, atol=0)
