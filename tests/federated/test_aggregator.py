from __future__ import annotations

import itertools

import pytest
import torch
from monai.fl.client import MonaiAlgo
from monai.fl.utils.constants import ExtraItems, FlStatistics, WeightType
from monai.fl.utils.exchange_object import ExchangeObject

from mtmedformer_monai.federated.aggregator import Aggregator
from mtmedformer_monai.federated.exchange import IMAGES_BY_TASK, ROUND, to_exchange
from mtmedformer_monai.federated.strategies import make_strategy
from mtmedformer_monai.federated.strategies.fedavg import FedAvg
from mtmedformer_monai.federated.strategy import LocalTraining
from tests.federated.scripted_sites import NUM_ROUNDS, ScriptedSite
from tests.federated.tiny_bundle import write_bundle

START = {"w": torch.tensor([1.0, 2.0]), "count": torch.tensor(7)}


def terms(value, count, number=0):
    precision_mean, precision = torch.tensor([value, value]) * count, torch.full((2,), float(count))
    return to_exchange({"precision_mean/w": precision_mean, "precision/w": precision}, {ROUND: number})


def plain(value, weight_type=WeightType.WEIGHTS, **statistics):
    return ExchangeObject(weights={"w": torch.tensor([value, value])}, weight_type=weight_type, statistics=statistics)


@pytest.fixture
def server():
    return Aggregator(FedAvg(), START)


def test_sites_are_added_in_any_order():
    sent = {"a": terms(3.0, 1), "b": terms(0.1, 7), "c": terms(-2.7, 3)}
    found = []
    for order in itertools.permutations(sent):
        server = Aggregator(FedAvg(), START)
        for site in order:
            server.add(sent[site], site)
        server.close_round()
        found.append(server.weights()["w"])
    assert all(torch.equal(each, found[0]) for each in found)
    torch.testing.assert_close(found[0], torch.full((2,), (3.0 + 0.7 - 8.1) / 11))


def test_a_site_sends_once_a_round(server):
    server.add(terms(3.0, 1), "a")
    with pytest.raises(ValueError, match="'a' has sent in round 0 already"):
        server.add(terms(3.0, 1), "a")
    server.close_round()
    server.add(terms(5.0, 1, number=1), "a")
    server.close_round()
    assert server.weights()["w"].tolist() == [5.0, 5.0]


@pytest.mark.parametrize("value", ["text", [3.0, 3.0], object(), print], ids=["text", "list", "object", "function"])
def test_anything_but_numbers_is_refused_whole(server, value):
    for weights in ({"precision_mean/w": torch.ones(2), "precision/w": value}, {"w": value}):
        with pytest.raises(TypeError, match="expects a dense tensor, a numeric array or a plain number"):
            server.add(ExchangeObject(weights=weights, weight_type=WeightType.WEIGHTS), "a")
    with pytest.raises(TypeError, match="'data_count' expects an integer, got str"):
        server.add(plain(3.0, **{FlStatistics.DATA_COUNT: "5"}), "a")
    with pytest.raises(ValueError, match="expects a data_count of 1 image or more, got 0"):
        server.add(plain(3.0, **{FlStatistics.DATA_COUNT: 0}), "a")
    server.add(terms(5.0, 1), "a")
    server.close_round()
    assert server.weights()["w"].tolist() == [5.0, 5.0]


def test_terms_of_another_round_are_refused(server):
    server.close_round()
    with pytest.raises(ValueError, match="sent a message for round 0, but the current round is 1"):
        server.add(terms(3.0, 1), "a")


def test_what_is_refused_leaves_nothing_behind(server):
    with pytest.raises(ValueError, match="not finite"):
        server.add(terms(float("nan"), 1), "a")
    server.add(terms(3.0, 1), "a")
    server.close_round()
    assert server.weights()["w"].tolist() == [3.0, 3.0]


def test_a_client_that_is_introduced_by_its_tasks_starts_from_its_groups_mean():
    first, second = ScriptedSite(["boxes", "masks"], [1.0, 0.0]), ScriptedSite(["classes"], [0.0, 2.0])
    server = Aggregator(make_strategy("bayesian", num_rounds=NUM_ROUNDS, distillation_rounds=0), {"w": torch.zeros(2)})
    for _ in range(NUM_ROUNDS):
        for name, site in (("a", first), ("b", second)):
            server.add(site.train(server.broadcast(name)), name)
        server.close_round()
    group, whole = (server.broadcast(name).weights["mean/w"] for name in ("a", None))
    assert torch.equal(server.broadcast("new").weights["mean/w"], whole)
    server.introduce(ExchangeObject(statistics={IMAGES_BY_TASK: {"masks": 4}}), "new")
    assert torch.equal(server.broadcast("new").weights["mean/w"], group)
    assert not torch.allclose(group, whole, atol=0.1)


def test_the_broadcast_contains_its_round(server):
    assert server.broadcast().statistics == {ROUND: 0}
    server.close_round()
    assert server.broadcast().statistics == {ROUND: 1}
    assert server.weights()["w"].tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (plain(7.0), (3.0 * 2 + 7.0) / 3),
        (plain(7.0, data_count=2), (3.0 * 2 + 7.0 * 2) / 4),
        (plain(6.0, WeightType.WEIGHT_DIFF), (3.0 * 2 + 7.0) / 3),
    ],
    ids=["one image", "gives its images", "sends a difference"],
)
def test_a_plain_client_counts_by_its_images(server, sent, expected):
    server.add(terms(3.0, 2), "a")
    server.add(sent, "plain")
    server.close_round()
    assert float(server.weights()["w"][0]) == pytest.approx(expected)


class Factors(FedAvg):
    """A server whose sums persist: the next mean covers all messages so far."""

    sends_changes = True

    def server(self, weights):
        server = super().server(weights)
        server._sum.clear = lambda: None
        return server


def test_a_plain_clients_last_part_is_taken_back_where_the_server_keeps_it(tmp_path):
    server = Aggregator(Factors(), START, plain_precision=0.5)
    server.add(terms(3.0, 2), "a")
    server.add(plain(7.0, data_count=4), "plain")
    server.close_round()
    torch.testing.assert_close(server.weights()["w"][0], torch.tensor((3.0 * 2 + 7.0 * 2) / 4))
    server.save(tmp_path / "server.pt")
    again = Aggregator(Factors(), START, plain_precision=0.5)
    again.restore(tmp_path / "server.pt")
    for each in (server, again):
        each.add(plain(9.0, data_count=4), "plain")
        each.close_round()
        torch.testing.assert_close(each.weights()["w"][0], torch.tensor((3.0 * 2 + 9.0 * 2) / 4))


def test_a_stock_client_takes_part(tmp_path):
    root = write_bundle(tmp_path / "bundle")
    clients = {}
    for name, is_difference in (("one", True), ("two", False)):
        clients[name] = MonaiAlgo(root, config_evaluate_filename=None, send_weight_diff=is_difference)
        clients[name].initialize({ExtraItems.CLIENT_NAME: name})
    server = Aggregator(FedAvg(), clients["one"].trainer.network.state_dict())
    for name, client in clients.items():
        client.train(server.broadcast_plain(), {})
        server.add(client.get_weights({}), name)
    server.close_round()
    one, two = (client.trainer.network.state_dict() for client in clients.values())
    for name, value in server.weights().items():
        mean = (one[name].float() + two[name].float()) / 2
        torch.testing.assert_close(value, mean if value.is_floating_point() else mean.round().to(value.dtype))


def test_other_initial_weights_are_set_before_the_first_message(server):
    losses = to_exchange({"loss_sum/lung": torch.tensor(6.0), "loss_count/lung": torch.tensor(3.0)}, {})
    server.add_initial_losses(losses, "a")
    server.start_from({**START, "w": torch.tensor([7.0, 8.0])})
    assert server.broadcast().weights["mean/w"].tolist() == [7.0, 8.0]
    assert float(server.broadcast().weights["setting/initial_loss/lung"]) == 2.0
    server.add(terms(3.0, 1, number=0), "a")
    with pytest.raises(ValueError, match="has begun; set its initial weights before the first message"):
        server.start_from(START)


def test_a_server_resumes_in_the_middle_of_a_round(server, tmp_path):
    server.close_round()
    server.add(terms(3.0, 1, number=1), "a")
    losses = to_exchange({"loss_sum/lung": torch.tensor(6.0), "loss_count/lung": torch.tensor(3.0)}, {})
    server.add_initial_losses(losses, "a")
    server.save(tmp_path / "server.pt")
    again = Aggregator(FedAvg(), START)
    again.restore(tmp_path / "server.pt")
    with pytest.raises(ValueError, match="already"):
        again.add(terms(3.0, 1, number=1), "a")
    with pytest.raises(ValueError, match="'a' has sent its initial losses already"):
        again.add_initial_losses(losses, "a")
    again.add(terms(6.0, 2, number=1), "b")
    again.close_round()
    assert again.round == 2
    assert again.weights()["w"].tolist() == [5.0, 5.0]
    assert float(again.broadcast().weights["setting/initial_loss/lung"]) == 2.0


def test_plain_weights_are_refused_where_no_stock_client_is_expected():
    """Any site could pose as one, whose messages are not screened."""
    server = Aggregator(FedAvg(), START, plain_precision=None)
    with pytest.raises(ValueError, match=r"'a' sent plain weights.* does not admit"):
        server.add(plain(7.0), "a")
    assert server.clients == []


def test_a_difference_of_another_shape_is_refused(server):
    name = next(iter(START))
    wrong = ExchangeObject({name: torch.ones(7, 7)}, weight_type=WeightType.WEIGHT_DIFF, statistics={})
    with pytest.raises(ValueError, match=f"{name!r} expects the shape"):
        server.add(wrong, "a")


def test_the_precision_of_plain_clients_is_checked():
    with pytest.raises(ValueError, match="plain_precision expects a number above 0, got 0"):
        Aggregator(FedAvg(), START, plain_precision=0)


def test_a_statistic_of_images_is_mon_ais_own():
    assert FlStatistics.DATA_COUNT == "data_count"


def test_a_stock_client_counts_in_rounds_that_learn_the_prior_as_in_those_after_them():
    """Four images each, at a client with a factor and at a stock client; the mean is always half way between them."""
    strategy = make_strategy("bayesian", num_rounds=3, isotropic=1.0, prior_precision=1e-9)
    server, rule = Aggregator(strategy, START), strategy.client()
    for number in range(3):
        rule.receive(server.broadcast("a").weights)
        sent = rule.send(LocalTraining({"w": torch.full((2,), 3.0 + number)}, {"w": 4}, images_by_task={"lung": 4}))
        server.add(to_exchange(sent, {ROUND: number, "images_by_task": {"lung": 4}}), "a")
        server.add(plain(7.0 + number, data_count=4), "plain")
        server.close_round()
        assert server.weights()["w"].tolist() == pytest.approx([5.0 + number] * 2, rel=1e-4)
