"""A site's privacy budget: what is spent adds up over federations, and what exceeds it does not leave."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from mtmedformer_monai.federated.client.filtered_client import FilteredClient
from mtmedformer_monai.federated.client.privacy_budget import PrivacyBudget
from mtmedformer_monai.federated.client.privacy_loss import epsilon
from mtmedformer_monai.federated.client.update_filters import GaussianMechanism
from mtmedformer_monai.federated.message import TensorKind, pick
from mtmedformer_monai.federated.strategies.fedavg import FedAvg
from mtmedformer_monai.federated.strategy import LocalTraining

START = {"w": torch.tensor([1.0, 2.0])}


@pytest.fixture
def file(tmp_path):
    return tmp_path / "account/privacy.json"


def test_four_messages_cost_as_much_as_one_with_half_the_noise(file):
    """The squared mu of noise 4 is 1/4, four of which add up to 1, that of noise 2."""
    limit = epsilon(2.0, 1, 1e-5)
    budget = PrivacyBudget(str(file), limit * 1.0001)
    assert [budget.spend(4.0) for _ in range(5)] == [True] * 4 + [False]
    assert json.loads(file.read_text()) == {"mu_squared": pytest.approx(1.0), "messages": 4}


def test_messages_of_another_federation_count(file):
    limit = epsilon(4.0, 3, 1e-5) * 1.0001
    assert PrivacyBudget(str(file), limit).spend(4.0)
    assert PrivacyBudget(str(file), limit).spend(2.0 * 2**0.5)  # as much as two with noise 4
    assert not PrivacyBudget(str(file), limit).spend(4.0)


def test_jobs_that_run_at_once_do_not_overspend(file):
    budgets = [PrivacyBudget(str(file), epsilon(4.0, 10, 1e-5) * 1.0001) for _ in range(30)]
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda budget: budget.spend(4.0), budgets)) == 10


def rounds(budget, count):
    """Returns the messages of a client with noise 4."""
    client = FilteredClient(FedAvg().client(), [GaussianMechanism(clip=1.0, noise=4.0)], budget)
    messages = []
    for _ in range(count):
        client.receive(FedAvg().server(START).broadcast())
        messages.append(client.send(LocalTraining({"w": torch.tensor([1.5, 2.0])}, {"w": 4})))
    return messages


def test_a_message_beyond_the_budget_is_withheld(file, caplog):
    sent = rounds(PrivacyBudget(str(file), epsilon(4.0, 2, 1e-5) * 1.0001), 3)
    assert [len(pick(message, TensorKind.PRECISION)) for message in sent] == [1, 1, 0]
    assert sent[2] == {}
    assert "this message would make it" in caplog.text


def test_a_damaged_account_stops_the_site(file):
    file.parent.mkdir()
    for text in ("", "{}", '{"mu_squared": -1, "messages": 2}', '{"mu_squared": NaN, "messages": 2}'):
        file.write_text(text)
        with pytest.raises(ValueError, match="restore it"):
            PrivacyBudget(str(file), 8.0).spend(4.0)
        assert file.read_text() == text


def test_a_budget_needs_noise_and_an_absolute_path(file):
    budget = PrivacyBudget(str(file), 8.0)
    for filters in ([], [GaussianMechanism(clip=1.0, noise=0.0)]):
        with pytest.raises(ValueError, match="expects a gaussian filter with noise"):
            FilteredClient(FedAvg().client(), filters, budget)
    with pytest.raises(ValueError, match="absolute path"):
        PrivacyBudget("privacy.json", 8.0)
    with pytest.raises(ValueError, match="epsilon above 0"):
        PrivacyBudget(str(file), float("nan"))
