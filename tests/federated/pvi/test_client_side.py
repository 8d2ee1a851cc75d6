import logging

import pytest
import torch

from mtmedformer_monai.federated.pvi import PVI
from mtmedformer_monai.federated.strategies import KeepLocal, make_strategy
from mtmedformer_monai.federated.strategy import LocalTraining

BROADCAST = {"mean/w": torch.tensor([2.0]), "precision/w": torch.tensor([4.0])}


def site(**settings):
    return PVI(**{"isotropic": 0.1, "curvature": 3.0, "average": 0.5, **settings}).client()


def test_the_first_round_by_hand():
    """Ten images, F = 2: H = 10 (0.1 + 6) = 61. No factor yet, so C = 4; the share of 61 in 65 leaves the mean at 3."""
    rule = site()
    assert rule.receive(BROADCAST) == {"w": torch.tensor([2.0])}
    assert rule.correct("w", torch.tensor([3.0]), torch.tensor([1.0]), 10).item() == pytest.approx(1.4)
    message = rule.send(LocalTraining({"w": torch.tensor([3.0])}, {"w": 10}, {"w": torch.tensor([2.0])}))
    assert message["precision/w"].item() == pytest.approx(61)
    assert message["precision_mean/w"].item() == pytest.approx(61 * 3)
    assert rule.own_factor({}) == {name: message[name] for name in ("precision/w", "precision_mean/w")}


@pytest.mark.parametrize(("rate", "damping", "factor"), [(None, 1.0, 2 / 6), (None, 0.5, 1 / 6), (0.5, 1.0, 0.5)])
def test_the_second_round_by_hand(rate, damping, factor):
    """From the factor (10, 5), in a posterior of precision 9 and mean 1: C = 4, e = 9 - 10 = -1, g = 10 - 5 = 5.

    H = 20 x 0.1 = 2; the update takes a share of (C + H) (3 - 1) = 12.
    """
    rule = site(curvature=0.0, rate=rate)
    rule.load_state_dict(
        {
            "own": {"w": [torch.tensor([10.0]), torch.tensor([5.0])]},
            "squares": {},
            "images_by_task": {},
            "prior_number": None,
        }
    )
    broadcast = {"mean/w": torch.tensor([1.0]), "precision/w": torch.tensor([9.0])}
    rule.receive({**broadcast, "setting/damping": torch.tensor(damping)})
    assert rule.correct("w", torch.tensor([3.0]), torch.tensor([0.0]), 10).item() == pytest.approx((4 * 3 + 1) / 10)
    message = rule.send(LocalTraining({"w": torch.tensor([3.0])}, {"w": 20}))
    assert message["precision/w"].item() == pytest.approx(2 - 5)
    assert rule.own_factor({})["precision_mean/w"].item() == pytest.approx(2 * 1 + 5 + factor * 12)
    assert message["precision_mean/w"].item() == pytest.approx(2 * 1 + 5 + factor * 12 - 10)


def test_the_share_of_the_precision_is_the_rate_of_each_weight():
    """Two clients that each determine a different weight: each applies its full step to its own weight."""
    strategy = PVI(isotropic=1e-6, curvature=1.0, prior_precision=1e-6)
    server, sites = strategy.server({"w": torch.zeros(2)}), [strategy.client(), strategy.client()]
    for trained, square in (([1.0, 0.3], [1.0, 0.0]), ([0.3, 1.0], [0.0, 1.0])):
        sites[0].receive(server.broadcast())
        server.add(
            sites.pop(0).send(LocalTraining({"w": torch.tensor(trained)}, {"w": 10}, {"w": torch.tensor(square)}))
        )
    server.close_round()
    torch.testing.assert_close(server.weights()["w"], torch.ones(2), rtol=1e-5, atol=0)


def test_the_factor_is_at_the_last_weights_and_the_moments_tell_noise_and_loss():
    """Four steps, of which the last two count: 3 and 5, of variance 2; H = 10 x 0.1 = 1, C = 4, so the mean is 5."""
    rule = site(curvature=0.0, noise_steps=0.5)
    rule.receive(BROADCAST)
    for step, value in enumerate((9.0, -9.0, 3.0, 5.0), start=1):
        rule.after_step({"w": torch.tensor([value])}, step, 4)
    message = rule.send(LocalTraining({"w": torch.tensor([5.0])}, {"w": 10}, relative_loss=0.4))
    assert message["precision_mean/w"].item() / message["precision/w"].item() == pytest.approx(5.0)
    assert message["moments/w"].tolist() == pytest.approx([1.0, 1.0, 1.0, 1.0, 1.0, 2.0, 3.0**2, 0.4, 1.0])
    assert rule.receive(BROADCAST) == {"w": torch.tensor([2.0])}  # the next round starts at the mean


def test_squared_gradients_are_averaged_over_rounds():
    rule = site(isotropic=0.0, curvature=1.0)
    for square in (2.0, 4.0):
        rule.receive({"mean/w": torch.tensor([2.0]), "precision/w": torch.tensor([40.0])})
        rule.send(LocalTraining({"w": torch.tensor([2.0])}, {"w": 10}, {"w": torch.tensor([square])}))
    assert rule.own_factor({})["precision/w"].item() == pytest.approx(30.0)


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


def test_a_client_sends_only_what_it_trains():
    rule = site()
    rule.receive({**BROADCAST, "mean/v": torch.zeros(1), "precision/v": torch.ones(1)})
    sent = rule.send(LocalTraining({"w": torch.tensor([3.0]), "v": torch.zeros(1)}, {"w": 10, "v": 0}))
    assert set(sent) == {"precision_mean/w", "precision/w", "moments/w"}
    gradient = torch.tensor([1.0])
    assert rule.correct("v", torch.tensor([3.0]), gradient, 0) is gradient


def test_coded_precision_fits_a_byte_and_the_mean_is_made_for_it():
    """Alone and without a cavity term, the factor's mean is the trained weight, however its precision was rounded."""
    rule = site(isotropic=0.0, curvature=1.0, coded_precision=True)
    squares, weights = torch.rand(100).exp(), torch.randn(100)
    rule.receive({"mean/w": torch.zeros(100), "precision/w": torch.zeros(100)})
    sent = rule.send(LocalTraining({"w": weights}, {"w": 10}, {"w": squares}))
    assert len(sent["precision/w"].unique()) <= 127
    torch.testing.assert_close(sent["precision/w"], 10 * squares, rtol=0.01, atol=0)
    torch.testing.assert_close(sent["precision_mean/w"] / sent["precision/w"], weights, rtol=1e-6, atol=0)


def test_the_iterates_of_a_round_that_was_not_sent_do_not_count_in_the_next():
    rule = PVI(isotropic=0.1).client()
    rule.receive(BROADCAST)
    for step in range(1, 5):
        rule.after_step({"w": torch.tensor([float("nan")])}, step, 4)
    rule.receive(BROADCAST)
    for step in range(1, 5):
        rule.after_step({"w": torch.tensor([5.0])}, step, 4)
    assert rule.send(LocalTraining({"w": torch.tensor([5.0])}, {"w": 10}))["precision/w"].item() == pytest.approx(1.0)


def test_the_prior_acts_in_labeled_steps_alone_whatever_wraps_the_client():
    strategy = make_strategy("bayesian", num_rounds=3, compress="float16")
    assert KeepLocal(strategy, ["norm*"]).client().corrects_labeled_steps
    assert not make_strategy("scaffold").client().corrects_labeled_steps  # its control is the mean of all steps
