"""Poisoned sites are left out of a round as if they had never sent anything, and honest ones never are."""

from __future__ import annotations

import itertools

import pytest
import torch
from monai.fl.utils.constants import WeightType
from monai.fl.utils.exchange_object import ExchangeObject

from mtmedformer_monai.federated.aggregator import Aggregator
from mtmedformer_monai.federated.exchange import ACCEPTED, NO_ROUND, ROUND, to_exchange
from mtmedformer_monai.federated.message import pick
from mtmedformer_monai.federated.screening import Screening, Sent, outliers
from mtmedformer_monai.federated.server_session import ServerSession
from mtmedformer_monai.federated.strategies import make_strategy
from mtmedformer_monai.federated.strategy import LocalTraining

START = {"w": torch.zeros(2), "v": torch.ones(3)}
HONEST = {"a": [1.0, 0.5], "b": [0.9, 0.7], "c": [1.2, 0.4], "d": [0.8, 0.6]}


def sent(step, images=10, sign=1.0, names=("w", "v")):
    """Returns the message of an average after a step that is `step` in w and its first number in v."""
    steps = {"w": torch.tensor(step), "v": torch.full((3,), step[0])}
    message = {}
    for name in names:
        message[f"precision_mean/{name}"] = images * (START[name] + sign * steps[name])
        message[f"precision/{name}"] = torch.full_like(START[name], images)
    return Sent(message, START, images)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [(sent([10.0, 5.0]), "more than 3 times the median"), (sent([1.0, 0.5], sign=-1.0), "cosine -")],
    ids=["scaled", "flipped"],
)
def test_a_poisoned_site_is_left_out_with_its_reason(bad, reason):
    sites = {name: sent(step) for name, step in HONEST.items()} | {"x": bad}
    for order in itertools.permutations(sites, 5):
        found = outliers({name: sites[name] for name in order}, Screening())
        assert list(found) == ["x"]
        assert reason in found["x"]


def test_honest_sites_of_20_and_2000_images_are_kept():
    sites = {name: sent(step, images) for (name, step), images in zip(HONEST.items(), (20, 2000, 20, 300), strict=True)}
    assert outliers(sites, Screening()) == {}


def test_sites_are_compared_by_what_enough_of_them_send():
    sites = {name: sent(step) for name, step in HONEST.items()}
    sites["alone"] = sent([1.0, 0.5], names=("w",))
    sites["other"] = Sent(
        {"precision_mean/u": torch.full((2,), 1e9), "precision/u": torch.ones(2)}, {"u": torch.zeros(2)}, 1
    )
    assert outliers({name: site for name, site in sites.items() if name != "other"}, Screening()) == {}
    sites["other"] = Sent(sites["other"].terms, {**START, "u": torch.zeros(2)}, 1)
    assert outliers(sites, Screening()) == {}


def owner(encoder, decoder=None, variance=None):
    """Returns the message of a site after steps from 0, or from a variance of 1; it is silent on the rest."""
    start = {"encoder": torch.zeros(2), "decoder": torch.zeros(2), "norm.running_var": torch.ones(2)}
    message = {}
    for name, value in (("encoder", encoder), ("decoder", decoder), ("norm.running_var", variance)):
        if value is not None:
            message[f"precision_mean/{name}"] = 10 * torch.tensor(value)
            message[f"precision/{name}"] = torch.full((2,), 10.0)
    return Sent(message, start, 10)


def test_medians_are_those_of_the_sites_that_send_a_tensor():
    """Five sites do not have the decoder of the other four, whose steps of it are eight times as long."""
    sites = {f"silent {number}": owner([1.0, 0.5]) for number in range(5)}
    sites |= {f"owner {number}": owner([1.0, 0.5], [8.0, 4.0]) for number in range(4)}
    withheld = {f"withheld {number}": Sent({}, sites["silent 0"].start, 10) for number in range(10)}
    assert outliers({**sites, **withheld}, Screening()) == {}
    flipped = {**sites, "owner 3": owner([1.0, 0.5], [-8.0, -4.0])}
    assert list(outliers(flipped, Screening())) == ["owner 3"]
    scaled = {**sites, "owner 3": owner([1.0, 0.5], [80.0, 40.0])}
    assert list(outliers(scaled, Screening())) == ["owner 3"]


def test_running_statistics_are_bounded():
    """At three times the sum of the median step, 1, and the broadcast variance, 1, all times the root of 2."""
    sites = {f"{number}": owner([1.0, 0.5], variance=[2.0, 2.0]) for number in range(3)}
    for variance, bad in ((6.9, []), (-4.9, []), (7.1, ["x"]), (-5.1, ["x"])):
        found = outliers({**sites, "x": owner([1.0, 0.5], variance=[variance, variance])}, Screening())
        assert list(found) == bad
    assert "running statistics of 'norm'" in found["x"]


def test_few_sites_are_not_judged():
    sites = {"a": sent(HONEST["a"]), "b": sent(HONEST["b"]), "x": sent([100.0, 0.0])}
    assert outliers(sites, Screening()) == {}


@pytest.mark.parametrize("wrong", [{"largest": 1.0}, {"least_cosine": 1.0}, {"min_sites": 2}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="screening expects largest above 1"):
        Screening(**wrong)


def test_the_option_is_checked():
    with pytest.raises(ValueError, match="robust expects 'screened' or nothing, got 'krum'"):
        make_strategy("fedavg", robust="krum")


class Federation:
    """Four honest sites that pull to 1, and a fifth whose steps can be tampered with."""

    def __init__(self, strategy, settings, folder, poisoned=True):
        self.strategy, self.settings, self.folder, self.poisoned = strategy, settings, folder, poisoned
        self.make = lambda: make_strategy(strategy, **settings)
        self.rules = {name: self.make().client() for name in [*HONEST, *(["x"] if poisoned else [])]}
        self.states = {name: {NO_ROUND: rule.state_dict()} for name, rule in self.rules.items()}
        self.open()

    def open(self):
        self.server = ServerSession(Aggregator(self.make(), START), self.folder, {})

    def send(self, name, factor=1.0):
        sent, rule = self.server.broadcast(name), self.rules[name]
        rule.load_state_dict(self.states[name][sent.statistics[ACCEPTED]])
        number, start = sent.statistics[ROUND], pick(sent.weights, "mean")
        received = rule.receive(sent.weights)
        goal = {"a": 1.0, "b": 1.1, "c": 0.9, "d": 1.05, "x": 1.0}[name]
        trained = {each: value + 0.5 * (3.0 * goal - value) for each, value in received.items()}
        message = rule.send(LocalTraining(trained, dict.fromkeys(trained, 10), images_by_task={"lung": 10}))
        self.states[name][number] = rule.state_dict()
        for each in start:
            if factor != 1.0:
                still = message[f"precision/{each}"] * start[each]
                tampered = still + factor * (message[f"precision_mean/{each}"] - still)
                message[f"precision_mean/{each}"] = tampered
        statistics = {ROUND: number, "images_by_task": {"lung": 10}}
        assert self.server.add(to_exchange(message, statistics), name), self.server.refused

    def round(self, factor=1.0, reopen=False):
        for name in self.rules:
            self.send(name, factor if name == "x" else 1.0)
            if reopen:
                self.open()
        self.server.close_round()


@pytest.mark.parametrize("strategy", ["fedavg", "bayesian"])
@pytest.mark.parametrize("factor", [10.0, -2.0], ids=["scaled", "flipped"])
def test_the_result_is_that_of_the_honest_sites_alone(tmp_path, caplog, strategy, factor):
    attacked = Federation(strategy, {"robust": "screened"}, tmp_path / "attacked")
    honest = Federation(strategy, {}, tmp_path / "honest", poisoned=False)
    for _ in range(3):
        attacked.round(factor, reopen=True)
        honest.round()
    assert caplog.text.count("the message of x is left out") == 3
    for name, value in honest.server.aggregator.weights().items():
        torch.testing.assert_close(attacked.server.aggregator.weights()[name], value, rtol=1e-6, atol=1e-7)
    assert attacked.server.broadcast("x").statistics[ACCEPTED] == NO_ROUND
    assert attacked.server.broadcast("a").statistics[ACCEPTED] == 2


@pytest.mark.parametrize("strategy", ["fedavg", "bayesian"])
def test_without_an_attack_screening_changes_nothing(tmp_path, strategy):
    screened = Federation(strategy, {"robust": "screened"}, tmp_path / "screened")
    plain = Federation(strategy, {}, tmp_path / "plain")
    for _ in range(3):
        screened.round()
        plain.round()
    for name, value in plain.server.aggregator.weights().items():
        assert torch.equal(screened.server.aggregator.weights()[name], value)


def test_a_site_that_stops_poisoning_takes_part_again(tmp_path):
    federation = Federation("bayesian", {"robust": "screened"}, tmp_path)
    federation.round(10.0)
    federation.round(1.0)
    assert federation.server.aggregator.left_out == {}
    assert federation.server.broadcast("x").statistics[ACCEPTED] == 1


@pytest.mark.parametrize("strategy", ["fedavg", "bayesian"])
@pytest.mark.parametrize("place", [0, 2, 5], ids=["first", "between", "last"])
def test_a_stock_client_counts_whenever_its_message_arrives(tmp_path, strategy, place):
    """Also if the server is killed after each message."""
    attacked = Federation(strategy, {"robust": "screened"}, tmp_path / "attacked")
    honest = Federation(strategy, {}, tmp_path / "honest", poisoned=False)
    for number in range(2):
        stock = {name: torch.full_like(value, 5.0 + number) for name, value in START.items()}
        sent = ExchangeObject(stock, weight_type=WeightType.WEIGHTS, statistics={"data_count": 10})
        for federation in (attacked, honest):
            names = list(federation.rules)
            for name in [*names[:place], "stock", *names[place:]]:
                if name == "stock":
                    assert federation.server.add(sent, name)
                else:
                    federation.send(name, -2.0 if name == "x" else 1.0)
                federation.server.save()
                federation.open()
            federation.server.close_round()
        assert list(attacked.server.aggregator.left_out) == ["x"]
        for name, value in honest.server.aggregator.weights().items():
            torch.testing.assert_close(attacked.server.aggregator.weights()[name], value, rtol=1e-6, atol=1e-7)


def withdrawal(federation, name, **others):
    """Returns the message with which a client leaves, and resets the client to what the server has accepted."""
    accepted = federation.server.broadcast(name).statistics[ACCEPTED]
    federation.rules[name].load_state_dict(federation.states[name][accepted])
    return to_exchange({**federation.rules[name].withdraw(), **others}, {})


@pytest.mark.parametrize(("compress", "factor"), [("", 10.0), ("float16", 1.0)], ids=["beside poison", "compressed"])
def test_a_client_that_withdraws_is_not_left_out(tmp_path, compress, factor):
    """It leaves as without screening, also if the server is killed after each message, and joins again."""
    poisoned = factor != 1.0
    screened = Federation("bayesian", {"compress": compress, "robust": "screened"}, tmp_path / "screened")
    free = Federation("bayesian", {"compress": compress}, tmp_path / "free", poisoned=not poisoned)
    for federation in (screened, free):
        for _ in range(2):
            federation.round(factor)
        assert federation.server.add(withdrawal(federation, "d"), "d")
        federation.states["d"][2] = federation.rules["d"].state_dict()
        for name in (name for name in federation.rules if name != "d"):
            federation.send(name, factor if name == "x" else 1.0)
            federation.server.save()
            federation.open()
        federation.server.close_round()
        assert federation.server.broadcast("d").statistics[ACCEPTED] == 2
        federation.send("d")
        federation.server.close_round()
        assert federation.server.broadcast("d").statistics[ACCEPTED] == 3
    expected = free.server.aggregator.broadcast().weights
    for name, value in screened.server.aggregator.broadcast().weights.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-6, atol=1e-7)


def test_a_message_that_takes_back_the_precision_alone_is_compared(tmp_path):
    federation = Federation("bayesian", {"robust": "screened"}, tmp_path)
    federation.round()
    before = federation.server.aggregator.weights()
    assert federation.server.add(withdrawal(federation, "x", **{"precision_mean/w": torch.full((2,), -1e3)}), "x")
    for name in HONEST:
        federation.send(name)
    federation.server.close_round()
    assert list(federation.server.aggregator.left_out) == ["x"]
    assert federation.server.broadcast("x").statistics[ACCEPTED] == 0
    assert (federation.server.aggregator.weights()["w"] - before["w"]).abs().max() < 1.0


def test_what_the_server_has_dropped_cannot_be_taken_back(tmp_path):
    """A message for an ended factor adds nothing, so its reverse is a step like any other."""
    federation = Federation("bayesian", {"robust": "screened", "num_rounds": 2}, tmp_path)
    federation.round()  # learns the prior
    given = {"precision_mean/w": torch.full((2,), 9.0), "precision/w": torch.full((2,), 0.003)}
    for sign, number, is_left_out in ((1.0, 0.0, False), (-1.0, 1.0, True)):
        tags = {"group/lung": torch.tensor(1.0), "setting/prior_number": torch.tensor(number)}
        message = {name: sign * value for name, value in given.items()} | tags
        accepted = federation.server.add(to_exchange(message, {}), "x")
        for name in HONEST:
            federation.send(name)
        federation.server.close_round()
        assert is_left_out == (not accepted or "x" in federation.server.aggregator.left_out)
