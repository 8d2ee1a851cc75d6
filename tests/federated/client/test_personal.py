from __future__ import annotations

import pytest
import torch

from mtmedformer_monai.federated.client.personal import mix, personal_weights
from mtmedformer_monai.federated.strategies.fedavg import AveragingClient

MEAN, PRECISION = {"w": torch.tensor([1.0, 3.0])}, {"w": torch.tensor([2.0, 5.0])}
OWN_MEAN, OWN = {"w": torch.tensor([4.0, 0.0])}, {"w": torch.tensor([1.0, 0.0])}


def test_mixture_by_hand():
    """(2 * 1 + 3 * 4) / (2 + 3 * 1), and the mean if the client has no factor."""
    assert mix(MEAN, PRECISION, OWN_MEAN, OWN, 3.0)["w"].tolist() == [pytest.approx(14 / 5), 3.0]


def test_it_goes_from_the_global_mean_to_the_sites_own():
    assert torch.equal(mix(MEAN, PRECISION, OWN_MEAN, OWN, 0.0)["w"], MEAN["w"])
    assert mix(MEAN, PRECISION, OWN_MEAN, OWN, 1e6)["w"][0] == pytest.approx(4.0, rel=1e-4)


def test_it_is_the_mean_of_the_product_with_a_power_of_the_own_factor():
    """Against a grid: exp(-(x - 1)^2) times the factor exp(4 x - x^2 / 2) three times."""
    grid = torch.linspace(-10, 10, 20001, dtype=torch.float64)
    density = torch.exp(-((grid - 1.0) ** 2) + 3 * (4.0 * grid - 0.5 * grid**2) - 20)
    expected = float((grid * density).sum() / density.sum())
    assert float(mix(MEAN, PRECISION, OWN_MEAN, OWN, 3.0)["w"][0]) == pytest.approx(expected, rel=1e-6)


def test_weights_without_precision_or_factor_stay():
    mean = {**MEAN, "buffer": torch.tensor([7.0])}
    assert mix(mean, {}, OWN_MEAN, OWN, 1.0) == mean
    assert mix(mean, PRECISION, {}, {}, 1.0) == mean


def test_a_negative_share_is_refused():
    with pytest.raises(ValueError, match="own_share expects 0 or more, got -1"):
        mix(MEAN, PRECISION, OWN_MEAN, OWN, -1.0)


class Keeping(AveragingClient):
    """Keeps a head, has a factor, and counts its calls."""

    calls = 0

    def receive(self, broadcast):
        self.calls += 1
        return {**super().receive(broadcast), "head": torch.tensor([9.0])}

    def own_factor(self, broadcast):
        return {"precision_mean/w": OWN_MEAN["w"], "precision/w": OWN["w"]}


def test_what_the_rule_keeps_is_personal_and_the_rule_stays_as_it_is():
    broadcast = {"mean/w": MEAN["w"], "mean/head": torch.zeros(1), "precision/w": PRECISION["w"]}
    rule = Keeping()
    weights = personal_weights(rule, broadcast, 3.0)
    assert weights["w"].tolist() == [pytest.approx(14 / 5), 3.0]
    assert weights["head"].tolist() == [9.0]
    assert rule.calls == 0
