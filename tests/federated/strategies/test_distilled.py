import pytest
import torch

from mtmedformer_monai.federated.client.personal import personal_weights
from mtmedformer_monai.federated.message import TensorKind, pick
from mtmedformer_monai.federated.pvi.strategy import PVI
from mtmedformer_monai.federated.strategies import Distilled, FedAvg, make_strategy
from mtmedformer_monai.federated.strategies.distilled import first_weights, frozen_teachers, is_distilled
from mtmedformer_monai.federated.teaching import EVERY_TASK, Completion, Distillation, Gate
from tests.federated.strategies.exact_clients import (
    assert_any_order_is_the_same,
    assert_it_resumes_after_restoring,
    federate,
    fixed,
    play,
    random_client,
    three_tensors,
)

SITES = [random_client(seed) for seed in range(3)]


def test_the_rounds_before_are_those_of_the_strategy():
    wrapped, plain = (federate(each, three_tensors(), SITES, 2)[0] for each in (Distilled(PVI(), 3, 1), PVI()))
    for name, value in plain.broadcast().items():
        assert torch.equal(wrapped.broadcast()[name], value)


def test_the_phase_starts_from_the_global_mean_and_averages():
    strategy, start = Distilled(PVI(), 2, 1), {"w": torch.zeros(1)}
    server, rules = federate(strategy, start, [fixed({"w": 1.0}), fixed({"w": 2.0})], 2)
    plain, _ = federate(PVI(), start, [fixed({"w": 1.0}), fixed({"w": 2.0})], 2)
    assert torch.equal(server.weights()["w"], plain.weights()["w"])
    play(server, rules, [fixed({"w": 1.0}, 10), fixed({"w": 5.0}, 30)])
    assert server.weights()["w"].tolist() == [4.0]
    assert not pick(server.broadcast(), TensorKind.PRECISION)  # the shared network has no posterior


def test_the_global_posterior_teaches_every_task_and_is_frozen():
    completion = Completion({}, Gate(0.8), 0.5, True)
    server, rules = federate(Distilled(PVI(), 2, 2, completion, temperature=0.1), three_tensors(), SITES, 1)
    assert rules[0].teaching() is None
    play(server, rules, SITES)
    before = federate(PVI(), three_tensors(), SITES, 2)[0].broadcast()
    for _ in range(2):
        rules[0].receive(server.broadcast())
        found = rules[0].teaching()
        teacher = found.teachers[EVERY_TASK]
        assert torch.equal(teacher.mean["encoder"], before["mean/encoder"])
        temperature = before["precision/encoder"] / teacher.precision["encoder"]
        assert float(temperature.min()) > 0
        torch.testing.assert_close(temperature, temperature.mean().expand_as(temperature))
        assert (found.gate, found.weight, found.soft, teacher.temperature) == (Gate(0.8), 0.5, True, 0.1)
        play(server, rules, SITES)


class Rule:
    """A server with given networks of groups."""

    def __init__(self, networks) -> None:
        self._networks = networks

    def group_networks(self):
        return self._networks

    def weights(self):
        return {"encoder": torch.tensor([9.0]), "lung": torch.tensor([5.0]), "finding": torch.tensor([6.0])}


def network(encoder: float, precision: float, **own: float):
    values = {"encoder": encoder, "lung": 5.0, "finding": 6.0, **own}
    weights = {name: torch.tensor([value]) for name, value in values.items()}
    return weights, {name: torch.full_like(value, precision) for name, value in weights.items()}


GROUPS = {"finding": network(1.0, 50.0), "box+lung": network(2.0, 10.0), "lung+opacity": network(3.0, 20.0)}


def test_every_group_teaches_its_tasks():
    found = frozen_teachers(Rule(GROUPS))
    assert found["group_mean@finding/encoder"].tolist() == [1.0]
    assert found["group_precision@box+lung/encoder"].tolist() == [10.0]
    assert len(found) == 3 * 2 * 3
    assert sorted(frozen_teachers(Rule({})))[0] == f"group_mean@{EVERY_TASK}/encoder"
    assert f"group_mean@{EVERY_TASK}/lung" in frozen_teachers(Rule({"": network(1.0, 1.0)}))


def test_the_shared_network_starts_from_the_group_with_most_tasks_then_most_evidence():
    assert first_weights(Rule(GROUPS))["encoder"].tolist() == [3.0]
    assert first_weights(Rule({}))["encoder"].tolist() == [9.0]
    assert first_weights(Rule({"lung": network(4.0, 1.0)}))["encoder"].tolist() == [9.0]


def test_nothing_is_withdrawn_from_the_shared_network():
    server, rules = federate(Distilled(PVI(), 1, 2), three_tensors(), SITES, 1)
    assert rules[0].withdraw()
    play(server, rules, SITES)
    assert (rules[0].withdraw(), rules[0].own_factor(server.broadcast())) == ({}, {})


@pytest.mark.parametrize("base", [PVI(), FedAvg()], ids=["bayesian", "fedavg"])
@pytest.mark.parametrize("before", [1, 2, 3])
def test_order_and_restoring_never_matter(base, before):
    strategy = Distilled(base, before, 5 - before)
    assert_any_order_is_the_same(strategy, three_tensors(), SITES)
    assert_it_resumes_after_restoring(strategy, three_tensors(), SITES)


def test_settings_by_name_reach_the_phase():
    settings = {
        "distillation_rounds": 1,
        "num_rounds": 1,
        "isotropic": 0.01,
        "taught_by": "labels",
        "min_score": 0.6,
        "completion_weight": 0.5,
    }
    strategy = make_strategy("bayesian", **settings, draw_temperature=0.01)
    server, rules = federate(strategy, three_tensors(), SITES, 1)
    rules[0].receive(server.broadcast())
    found = rules[0].teaching()
    assert (found.gate, found.weight, found.teachers[EVERY_TASK].temperature) == (Gate(min_score=0.6), 0.5, 0.01)
    assert found.soft


def test_masks_are_probabilities_unless_the_setting_says_otherwise():
    for given, expected in (({}, True), ({"soft": True}, True), ({"soft": False}, False)):
        strategy = make_strategy("bayesian", distillation_rounds=1, num_rounds=1, taught_by="labels", **given)
        server, rules = federate(strategy, three_tensors(), SITES, 1)
        rules[0].receive(server.broadcast())
        assert rules[0].teaching().soft is expected


def test_by_default_the_outputs_of_the_groups_networks_teach():
    server, rules = federate(make_strategy("bayesian", distillation_rounds=1, num_rounds=1), three_tensors(), SITES, 1)
    rules[0].receive(server.broadcast())
    found = rules[0].teaching()
    assert isinstance(found, Distillation)
    assert (found.weight, found.temperature, found.optional) == (1.0, 1.0, False)
    assert torch.equal(found.teachers[EVERY_TASK].mean["encoder"], server.weights()["encoder"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"taught_by": "both"}, "taught_by expects one of outputs, labels, got 'both'"),
        ({"min_score": 0.5, "soft": False}, "min_score, soft expects taught_by=labels"),
        ({"taught_by": "outputs", "draw_temperature": 0.5}, "draw_temperature expects taught_by=labels"),
    ],
)
def test_settings_that_do_not_apply_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        make_strategy("bayesian", distillation_rounds=1, num_rounds=1, **settings)


def test_a_phase_needs_rounds_before_it():
    for before, after in ((0, 1), (1, 0)):
        with pytest.raises(ValueError, match=f"num_rounds and distillation_rounds expect 1 or more, got {before}"):
            Distilled(PVI(), before, after)
    with pytest.raises(ValueError, match="expects num_rounds as well"):
        make_strategy("bayesian", distillation_rounds=1)


MASKS = fixed({"w": 1.0}, 10, images_by_task={"masks": 10})
BOXES = fixed({"w": 3.0}, 30, images_by_task={"boxes": 30})
APART = {"between": 1.0, "prior_precision": 1e-9}


def play_groups(server, rules, sites):
    """Plays a round in which every client gets the broadcast of its group."""
    sent = {name: server.broadcast_for([name]) for name in rules}
    for name, rule in rules.items():
        server.add(rule.send(sites[name](rule, rule.receive(sent[name]))))
    server.close_round()


def groups_after(num_rounds, strategy=None, **sites):
    strategy = strategy or make_strategy("bayesian", num_rounds=2, **APART)
    server, rules = strategy.server({"w": torch.zeros(1)}), {name: strategy.client() for name in sites}
    for _ in range(num_rounds):
        play_groups(server, rules, sites)
    return server, rules


def test_a_bayesian_federation_of_groups_that_parted_ends_with_one_network():
    server, rules = groups_after(1, masks=MASKS, boxes=BOXES)
    assert server.extra_rounds() == 0
    play_groups(server, rules, {"masks": MASKS, "boxes": BOXES})
    assert (server.extra_rounds(), rules["masks"].is_extra) == (2, False)
    rules["masks"].receive(server.broadcast_for(["masks"]))
    assert rules["masks"].is_extra
    assert rules["masks"].teaching().optional
    play_groups(server, rules, {"masks": MASKS, "boxes": BOXES})
    assert server.weights()["w"].item() == pytest.approx(2.5)  # (10 * 1 + 30 * 3) / 40
    assert server.extra_rounds() == 2


@pytest.mark.parametrize(
    ("settings", "sites"),
    [
        ({}, {"masks": MASKS}),
        ({}, {"masks": MASKS, "boxes": fixed({"w": 3.0}, 30)}),  # as a stock client, which tells no tasks
        ({"between": 0.0}, {"masks": MASKS, "boxes": BOXES}),
        ({"distillation_rounds": 0}, {"masks": MASKS, "boxes": BOXES}),
        ({"memory": False}, {"masks": MASKS, "boxes": BOXES}),
    ],
    ids=["one group", "unknown tasks", "full pooling", "not wanted", "averaging"],
)
def test_without_groups_that_parted_there_is_no_further_round(settings, sites):
    apart = {} if settings.get("memory") is False else APART
    strategy = make_strategy("bayesian", num_rounds=2, **{**apart, **settings})
    server, _ = groups_after(3, strategy, **sites)
    assert server.extra_rounds() == 0
    assert not is_distilled(server.broadcast())


def test_an_unknown_number_of_rounds_has_no_phase():
    assert type(make_strategy("bayesian")) is PVI


def test_a_client_that_was_built_without_the_number_of_rounds_is_told_so():
    server, _ = groups_after(2, masks=MASKS, boxes=BOXES)
    with pytest.raises(ValueError, match=r"expects a broadcast with precisions, got none; .* including num_rounds"):
        make_strategy("bayesian").client().receive(server.broadcast_for(["masks"]))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_clients_infer_with_their_groups_posterior_and_own_factor_in_the_phase(share):
    """What a client infers with does not depend on whether one network is distilled afterwards."""
    sites = {"masks": MASKS, "boxes": BOXES}
    plain, others = groups_after(2, make_strategy("bayesian", num_rounds=2, distillation_rounds=0, **APART), **sites)
    server, rules = groups_after(3, make_strategy("bayesian", num_rounds=2, distillation_rounds=2, **APART), **sites)
    for name, rule in rules.items():
        expected = personal_weights(others[name], plain.broadcast_for([name]), share)["w"]
        torch.testing.assert_close(personal_weights(rule, server.broadcast_for([name]), share)["w"], expected)


def test_a_client_of_no_group_infers_with_the_shared_network():
    server, _ = groups_after(3, masks=MASKS, boxes=BOXES)
    late = make_strategy("bayesian", num_rounds=2, **APART).client()
    found = personal_weights(late, server.broadcast_for(["classes"]), 1.0)
    assert found["w"].item() == pytest.approx(2.5)
    assert personal_weights(late, server.broadcast(), 1.0)["w"].item() == pytest.approx(2.5)


def test_a_phase_without_any_message_leaves_the_groups_networks(caplog):
    """As where every site has filters of updates."""
    server, rules = groups_after(2, masks=MASKS, boxes=BOXES)
    before = server.group_networks()
    for name in rules:
        rules[name].receive(server.broadcast_for([name]))
        server.add({})
    server.close_round()
    assert "No site has taken part in the distillation" in caplog.text
    assert server.extra_rounds() == 0
    assert not is_distilled(server.broadcast())
    assert server.group_networks().keys() == before.keys()
    restored = make_strategy("bayesian", num_rounds=2, **APART).server({"w": torch.zeros(1)})
    restored.load_state_dict(server.state_dict())
    assert not is_distilled(restored.broadcast())


def test_a_later_round_without_any_message_leaves_the_one_network():
    server, _ = groups_after(3, masks=MASKS, boxes=BOXES)
    restored = make_strategy("bayesian", num_rounds=2, **APART).server({"w": torch.zeros(1)})
    restored.load_state_dict(server.state_dict())
    for each in (server, restored):
        each.close_round()
        assert is_distilled(each.broadcast())
        assert each.weights()["w"].item() == pytest.approx(2.5)
