"""A client that weighs more than the agreed number of images is refused; all others count as without a limit."""

from __future__ import annotations

import pytest
import torch

from mtmedformer_monai.federated.aggregator import Aggregator
from mtmedformer_monai.federated.exchange import ROUND, to_exchange
from mtmedformer_monai.federated.strategies import make_strategy
from mtmedformer_monai.federated.strategy import LocalTraining

START = {"w": torch.zeros(2), "norm.running_mean": torch.zeros(2), "norm.num_batches_tracked": torch.tensor(0)}
AVERAGES = (
    "fedavg",
    "fedprox",
    "feddyn",
    "scaffold",
    "fedavgm",
    "fedadam",
    "fedpa",
    "condistfl",
    "fedmix",
    "fedbn",
    "bayesian",
)


def message_of(strategy, images, value=1.0):
    """Returns the first message of a client whose weights have become `value`."""
    rule = strategy.client()
    received = rule.receive(Aggregator(strategy, START).broadcast().weights)
    trained = {name: torch.full_like(START[name], value) for name in {**START, **received}}
    sent = rule.send(LocalTraining(trained, dict.fromkeys(trained, images), images_by_task={"lung": images}))
    return to_exchange(sent, {ROUND: 0, "images_by_task": {"lung": images}})


@pytest.mark.parametrize("name", AVERAGES)
@pytest.mark.parametrize("compress", ["", "float32"], ids=["plain", "compressed"])
def test_a_client_with_too_many_images_is_refused_and_the_others_count(name, compress):
    limited, free = (make_strategy(name, compress=compress, most_images=most) for most in (20, 0))
    servers = Aggregator(limited, START), Aggregator(free, START)
    with pytest.raises(ValueError, match=r"'liar' weighs as much as 1e\+06 images .* allows 20; raise most_images"):
        servers[0].add(message_of(limited, 10**6, value=-5.0), "liar")
    for server, strategy in zip(servers, (limited, free), strict=True):
        server.add(message_of(strategy, 20), "honest")
        server.close_round()
    for key, value in servers[1].weights().items():
        assert torch.equal(servers[0].weights()[key], value), key
    assert servers[0].weights()["w"].abs().max() > 0.0 or name == "fedbn"


def test_a_factor_cannot_grow_beyond_the_limit_round_by_round():
    strategy = make_strategy("bayesian", most_images=15)
    server = Aggregator(strategy, START)
    for number in range(2):
        message = message_of(strategy, 10)
        again = to_exchange(message.weights, {**message.statistics, ROUND: number})
        if number == 0:
            server.add(again, "a")
            server.close_round()
        else:
            with pytest.raises(ValueError, match="weighs as much as 20 images"):
                server.add(again, "a")


@pytest.mark.parametrize("most", [15, 0], ids=["limited", "free"])
def test_a_site_counts_as_one_client_in_the_mean_of_groups(most):
    """Without a limit, a message may be the sum of several sites' messages."""
    strategy = make_strategy("bayesian", most_images=most, num_rounds=2)
    server, exchange = Aggregator(strategy, START), message_of(strategy, 10)
    (name,) = [name for name in exchange.weights if name.startswith("moments/")]
    exchange.weights[name][0] = 1000.0
    if most:
        with pytest.raises(ValueError, match="'liar' counts as 1000 clients in 'w', and it is one"):
            server.add(exchange, "liar")
    else:
        server.add(exchange, "node")


def test_a_stock_client_is_refused_too():
    server = Aggregator(make_strategy("fedavg", most_images=100), START)
    with pytest.raises(ValueError, match="data_count of 101, and the federation allows 100"):
        server.add(to_exchange(dict(START), {"data_count": 101}), "stock")
    server.add(to_exchange(dict(START), {"data_count": 100}), "stock")


@pytest.mark.parametrize("name", ["fisher", "kronecker", "pfnm"])
def test_a_strategy_whose_precision_depends_on_the_training_has_no_limit(name):
    with pytest.raises(ValueError, match="most_images expects a strategy that weighs a site by its number of images"):
        make_strategy(name, most_images=10)
    with pytest.raises(ValueError, match="most_images expects"):
        make_strategy("bayesian", curvature=1.0, most_images=10)


@pytest.mark.parametrize("most", [-1, 2.5, "many"])
def test_a_limit_is_a_number_of_images(most):
    with pytest.raises(ValueError, match="most_images expects a number of images"):
        make_strategy("fedavg", most_images=most)


def test_rounds_that_learn_the_prior_do_not_add_up():
    """Each of them ends all factors, so a site of 10 images weighs 10 in the third round, too."""
    strategy = make_strategy("bayesian", most_images=15, num_rounds=3)
    server, rule = Aggregator(strategy, START), strategy.client()
    for number in range(3):
        received = rule.receive(server.broadcast("a").weights)
        trained = {name: torch.full_like(START[name], number) for name in {**START, **received} if name in START}
        sent = rule.send(LocalTraining(trained, dict.fromkeys(trained, 10), images_by_task={"lung": 10}))
        server.add(to_exchange(sent, {ROUND: number, "images_by_task": {"lung": 10}}), "a")
        server.close_round()
    assert server.weights()["w"].tolist() == pytest.approx([2.0, 2.0], abs=1e-2)
