"""The factors that an aggregator keeps: when they end, change their tasks, or pass into the distillation."""

from __future__ import annotations

import pytest
import torch

from mtmedformer_monai.federated.aggregator import Aggregator
from mtmedformer_monai.federated.client.personal import personal_weights
from mtmedformer_monai.federated.exchange import IMAGES_BY_TASK, ROUND, to_exchange, to_message
from mtmedformer_monai.federated.strategies import make_strategy
from mtmedformer_monai.federated.strategy import LocalTraining

WIDE = {"isotropic": 1.0, "prior_precision": 1e-9}


class Client:
    """Moves its weight by a distance each round.

    Args:
        strategy: of the federation.
        tasks: for which it has labels.
        distance: of a round.
        images: number of them.
    """

    def __init__(self, strategy, tasks, distance, images=10):
        self.rule, self.counts = strategy.client(), dict.fromkeys(tasks, images)
        self.distance, self.images = distance, images

    def message(self, broadcast):
        start = self.rule.receive(to_message(broadcast))
        trained = {"w": start["w"] + self.distance}
        training = LocalTraining(trained, {"w": self.images}, images_by_task=self.counts, relative_loss=0.5)
        return self.exchange(self.rule.send(training), broadcast.statistics[ROUND])

    def exchange(self, message, number):
        return to_exchange(message, {ROUND: number, IMAGES_BY_TASK: self.counts})


def play(server, clients):
    sent = {name: server.broadcast(name) for name in clients}
    for name, client in clients.items():
        server.add(client.message(sent[name]), name)
    server.close_round()


def federation(num_rounds=4, **settings):
    strategy = make_strategy("bayesian", num_rounds=num_rounds, **{**WIDE, **settings})
    server = Aggregator(strategy, {"w": torch.zeros(2)})
    return server, {"a": Client(strategy, ["masks"], 4.0), "b": Client(strategy, ["boxes"], 1.0)}, strategy


def mean(server, name):
    return server.broadcast(name).weights["mean/w"][0].item()


def test_a_factor_that_has_ended_has_no_part_in_personal_weights():
    """In the first three of four rounds, all factors end; afterwards, the own one counts twice."""
    server, clients, _ = federation()
    for number in range(4):
        play(server, clients)
        for name, client in clients.items():
            found = personal_weights(client.rule, to_message(server.broadcast(name)), 1.0)["w"][0].item()
            assert (found == pytest.approx(mean(server, name), abs=1e-6)) == (number < 3)


def test_withdrawing_a_factor_that_has_ended_is_accepted():
    server, clients, _ = federation()
    play(server, clients)
    before = mean(server, "a")
    server.add(clients["b"].exchange(clients["b"].rule.withdraw(), 1), "b")
    server.close_round()
    assert mean(server, "a") == pytest.approx(before)
    play(server, clients)  # both go on


@pytest.mark.parametrize("withdrawn", [False, True])
def test_a_client_changes_its_tasks_only_without_a_factor(withdrawn):
    """The change of a factor, added to the sum of another group, would leave it almost without precision."""
    server, clients, _ = federation(num_rounds=8, prior_rounds=1)
    play(server, clients)
    clients["a"].counts["lungs"] = 10  # its factor has ended with the first round
    play(server, clients)
    if withdrawn:
        server.add(clients["a"].exchange(clients["a"].rule.withdraw(), 2), "a")
        server.close_round()
    clients["a"].counts["classes"] = 10
    message = clients["a"].message(server.broadcast("a"))
    if withdrawn:
        server.add(message, "a")
        return
    with pytest.raises(ValueError, match=r"'a' has labels of classes.lungs.masks, but .* its factor for lungs.masks"):
        server.add(message, "a")
    restored = Aggregator(make_strategy("bayesian", num_rounds=8, prior_rounds=1, **WIDE), {"w": torch.zeros(2)})
    restored.load_state_dict(server.state_dict())
    with pytest.raises(ValueError, match="let the client withdraw first"):
        restored.add(message, "a")


def test_the_limit_counts_images_in_the_distillation_too():
    server, clients, strategy = federation(num_rounds=2, distillation_rounds=2, most_images=10, isotropic=0.0003)
    for _ in range(4):
        play(server, clients)
    assert mean(server, "a") == mean(server, "b")
    server, clients, strategy = federation(num_rounds=2, distillation_rounds=1, most_images=10, isotropic=0.0003)
    play(server, clients)
    play(server, clients)
    many = Client(strategy, ["masks"], 1.0, images=11)
    with pytest.raises(ValueError, match="weighs as much as 11 images"):
        server.add(many.message(server.broadcast("a")), "c")


def test_screening_leaves_sites_out_of_the_distillation_too():
    server, _, strategy = federation(num_rounds=1, distillation_rounds=1, robust="screened")
    clients = {name: Client(strategy, ["masks"], 1.0) for name in "abcde"}
    play(server, clients)
    clients["e"].distance = 500.0
    play(server, clients)
    assert list(server.left_out) == ["e"]
    assert mean(server, "a") == pytest.approx(2.0)


def test_stock_clients_take_no_part_in_the_distillation():
    server, clients, _ = federation(num_rounds=1, distillation_rounds=1)
    play(server, clients)
    with pytest.raises(ValueError, match="stock client, which cannot be taught"):
        server.add(to_exchange({"w": torch.ones(2)}, {}), "stock")


def test_a_federation_that_goes_on_with_another_number_of_rounds_keeps_its_factors():
    server, clients, _ = federation(num_rounds=5, distillation_rounds=0)
    for _ in range(5):
        play(server, clients)
    precision = server.broadcast("a").weights["precision/w"]
    longer, _, _ = federation(num_rounds=8, distillation_rounds=0)
    longer.load_state_dict(server.state_dict())
    numbers = [each.broadcast("a").weights["setting/prior_number"] for each in (longer, server)]
    assert numbers[0] == numbers[1]
    play(longer, clients)
    found = longer.broadcast("a").weights["precision/w"]
    torch.testing.assert_close(found, precision, rtol=0.01, atol=0.0)  # not twice; the estimated share varies it


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("setting/prior_number", torch.tensor(float("inf")), "expects one whole number"),
        ("setting/prior_number", torch.tensor([1.0, 2.0]), "expects one whole number"),
        (
            "moments/w",
            torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0]),
            "weights above 0 of a client with images",
        ),
        ("moments/w", torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, -1.0, 1.0, 1.0, 1.0]), "none below 0"),
        ("moments/w", torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0]), "no more clients with noise"),
        ("group/../escaped", torch.tensor(1.0), "expects names of tasks"),
    ],
)
def test_malformed_parts_of_a_message_are_refused(name, value, error):
    server, clients, _ = federation()
    sent = clients["a"].message(server.broadcast("a"))
    sent.weights[name] = value
    with pytest.raises(ValueError, match=error):
        server.add(sent, "a")
    play(server, {"b": clients["b"]})


def test_merged_groups_leave_no_prior_behind():
    """Masks and boxes merge by a client with both; a later, larger set starts from the mean of what then exists."""
    server, clients, strategy = federation(num_rounds=9, prior_rounds=6)
    clients["c"] = Client(strategy, ["boxes", "masks"], 30.0)
    for _ in range(3):
        play(server, clients)
    merged = mean(server, "a")
    assert merged == mean(server, "b") == mean(server, "c")
    server.add_initial_losses(to_exchange({}, {IMAGES_BY_TASK: {"boxes": 3, "classes": 3, "masks": 3}}), "d")
    assert mean(server, "d") == pytest.approx(merged)


def test_compressed_federations_have_the_prior_of_their_strategy():
    """Inference draws from the posterior, whose file states it."""
    assert make_strategy("bayesian", compress="float16", prior_precision=0.25).prior_precision == 0.25
    assert make_strategy("bayesian", distillation_rounds=1, num_rounds=1, prior_precision=0.25).prior_precision == 0.25


def test_the_rounding_error_of_a_factor_ends_with_it():
    server, clients, _ = federation(num_rounds=3, compress="float16")
    clients["a"].distance = torch.tensor([1.0 / 3.0, 0.7])
    play(server, clients)
    rule = clients["a"].rule
    assert rule.state_dict()["wire"]["residual"]
    rule.receive(to_message(server.broadcast("a")))
    assert not rule.state_dict()["wire"]["residual"]
    assert not rule.withdraw() or all("precision_mean" not in name for name in rule.withdraw())
