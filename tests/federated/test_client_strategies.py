"""Strategies at clients that train a stock bundle."""

from __future__ import annotations

import copy

import pytest
import torch
from ignite.engine import Events

from mtmedformer_monai.federated.aggregator import Aggregator
from mtmedformer_monai.federated.client.client_options import ClientOptions
from mtmedformer_monai.federated.message import TensorKind, key
from mtmedformer_monai.federated.strategies import STRATEGIES, make_strategy, norm_parameters
from tests.federated.rounds import assert_equal, run_rounds, weights_of


@pytest.mark.parametrize("name", sorted(set(STRATEGIES) - {"matching", "pfnm"}))
def test_every_strategy_trains_a_stock_bundle(stock, name):
    sites = [stock(name), stock(name, train_kwargs={"seed": 1}, options={"personal": True, "own_share": 1.0})]
    start = weights_of(sites[0])
    server = Aggregator(make_strategy(name), start)
    run_rounds(server, sites, 2)
    assert all(bool(torch.isfinite(value).all()) for value in server.weights().values())
    moved = [key for key, value in server.weights().items() if not torch.equal(value, start[key])]
    assert bool(moved) == (name != "local")
    personal = sites[1].evaluate(server.broadcast()).metrics
    assert 0.0 <= float(personal["val_dice"]) <= 1.0


@pytest.mark.parametrize("name", ["matching", "pfnm"])
def test_matching_needs_a_network_that_declares_its_groups(stock, name):
    with pytest.raises(ValueError, match="declares its permutation groups"):
        stock(name)


def test_personal_weights_are_those_of_the_site(stock):
    settings = {"norms": ["*.adn.N.*"]}
    site = stock("fedbn", settings=settings, options={"personal": True})
    server = Aggregator(make_strategy("fedbn", **settings), weights_of(site))
    run_rounds(server, [site], 1)
    trained, broadcast = weights_of(site), server.weights()
    inferred = site.inference_weights(server.broadcast().weights)
    norms = norm_parameters(site.trainer.network)
    assert norms
    for name in norms:
        torch.testing.assert_close(inferred[name], trained[name])
    assert any(not torch.equal(inferred[name], broadcast[name]) for name in norms)


def test_a_site_withdraws_its_factor(stock):
    """When both clients have withdrawn their factors, only the prior remains."""
    sites = [stock("bayesian"), stock("bayesian", train_kwargs={"seed": 1})]
    start = weights_of(sites[0])
    server = Aggregator(make_strategy("bayesian"), start)
    run_rounds(server, sites, 2)
    for index, site in enumerate(sites):
        server.add(site.withdraw(), str(index))
    server.close_round()
    for name, _ in sites[0].trainer.network.named_parameters():
        torch.testing.assert_close(server.weights()[name], start[name], rtol=1e-4, atol=1e-4)


def test_sites_that_leave_take_back_what_they_have_sent_and_train_no_more(stock):
    sites = [stock("bayesian"), stock("bayesian", train_kwargs={"seed": 1})]
    server = Aggregator(make_strategy("bayesian", prior_rounds=0), weights_of(sites[0]))
    start, names = server.weights(), [name for name, _ in sites[0].trainer.network.named_parameters()]
    precision = key(TensorKind.PRECISION, names[0])
    prior = server.broadcast().weights[precision]
    run_rounds(server, sites, 2)
    steps = sites[0].trainer.state.iteration
    sites[0].options = ClientOptions(leave=True)
    run_rounds(server, sites, 1)
    left = server.broadcast("1").weights
    torch.testing.assert_close(left[precision], prior + sites[1].rule.own_factor(left)[precision], rtol=1e-3, atol=0.0)
    sites[1].options = ClientOptions(leave=True)
    run_rounds(server, sites, 2)  # nothing is taken back twice
    for name in names:
        torch.testing.assert_close(server.weights()[name], start[name], rtol=1e-4, atol=1e-4)
    assert sites[0].trainer.state.iteration == steps


def test_a_site_that_leaves_is_not_screened(stock):
    settings = {"robust": "screened", "prior_rounds": 0}
    sites = [stock("bayesian", train_kwargs={"seed": seed}, settings=settings) for seed in range(4)]
    server = Aggregator(make_strategy("bayesian", **settings), weights_of(sites[0]))
    run_rounds(server, sites, 1)
    sites[0].options = ClientOptions(leave=True)
    for _ in range(2):
        run_rounds(server, sites, 1)
        assert "0" not in server.left_out
    assert sites[0].rule.own_factor(server.broadcast("0").weights) == {}


@pytest.mark.parametrize("name", ["fedavg", "fedadam", "fisher", "scaffold", "bayesian"])
def test_a_round_in_which_all_sites_have_left_changes_nothing(stock, name):
    site = stock(name, options={"leave": True})
    server = Aggregator(make_strategy(name), weights_of(site))
    before = server.weights()
    run_rounds(server, [site], 2)
    assert_equal(server.weights(), before)
    assert site.get_weights().statistics["num_executed_iterations"] == 0


@pytest.mark.parametrize("name", ["fedavg", "scaffold", "bayesian"])
def test_a_training_that_diverged_is_withheld_whatever_the_strategy(stock, name, caplog):
    site = stock(make_strategy(name))
    server = Aggregator(make_strategy(name), site.trainer.network.state_dict())
    run_rounds(server, [site], 1)
    before, memory = server.weights(), copy.deepcopy(site.rule.state_dict())
    weight = next(site.trainer.network.parameters()).data
    spoil = site.trainer.add_event_handler(Events.COMPLETED, lambda: weight.fill_(torch.nan))
    run_rounds(server, [site], 1)
    assert all(torch.equal(value, before[key]) for key, value in server.weights().items())
    torch.testing.assert_close(site.rule.state_dict(), memory, rtol=0, atol=0)
    assert "withheld" in caplog.text
    spoil.remove()
    run_rounds(server, [site], 1)
    assert all(bool(torch.isfinite(value).all()) for value in server.weights().values())
    assert any(not torch.equal(value, before[key]) for key, value in server.weights().items())
