"""Filters see the change of the weights, and everything that a client sends follows from what they return."""

from __future__ import annotations

import logging
import math
import secrets

import pytest
import torch

from mtmedformer_monai.federated.aggregator import Aggregator
from mtmedformer_monai.federated.client.filtered_client import SMALLEST_VARIANCE, FilteredClient, unfiltered
from mtmedformer_monai.federated.client.update_filters import FlareFilter, GaussianMechanism, make_filters, normal_noise
from mtmedformer_monai.federated.message import TensorKind, pick
from mtmedformer_monai.federated.pvi.strategy import PVI
from mtmedformer_monai.federated.strategies import STRATEGIES, make_strategy
from mtmedformer_monai.federated.strategies.fedavg import FedAvg
from mtmedformer_monai.federated.strategy import LocalTraining
from mtmedformer_monai.layers.permutation_groups import Group, PermutationGroups
from tests.federated.rounds import assert_equal, weights_of

START = {"w": torch.tensor([1.0, 2.0]), "b": torch.tensor(0.5)}


def halve(update):
    return {name: value / 2 for name, value in update.items()}


def without_b(update):
    return {"w": update["w"]}


def message(strategy, filters, trained, counts=None):
    """Returns the message of a client that has trained from START."""
    client = FilteredClient(strategy.client(), filters)
    client.receive(strategy.server(START).broadcast())
    for step in (1, 2):
        client.after_step({name: value + 100.0 for name, value in trained.items()}, step, 2)
    tasks = {"lung": 4}
    return client.send(LocalTraining(trained, counts or dict.fromkeys(trained, 4), images_by_task=tasks, loss=7.0))


def test_the_loss_is_not_told():
    sent = []
    for loss in (0.1, 0.9):
        client = FilteredClient(PVI().client(), [halve])
        client.receive(PVI().server(START).broadcast())
        training = LocalTraining({"w": torch.ones(2)}, {"w": 4}, loss=loss, relative_loss=loss)
        sent.append(client.send(training))
    assert sent[0].keys() == sent[1].keys()
    assert all(torch.equal(value, sent[1][name]) for name, value in sent[0].items())


def test_what_a_filter_removes_does_not_decide_how_the_rest_is_matched():
    """The units of `b` have changed places, but `b` is not to be told, and `w` has not moved."""
    groups = PermutationGroups({"unit": Group(2)}, {"w": (("unit",),), "b": (("unit",),)})
    start = {"w": torch.tensor([1.0, 2.0]), "b": torch.tensor([0.0, 9.0])}
    strategy = make_strategy("matching")
    client = FilteredClient(strategy.client(groups), [without_b])
    client.receive(strategy.server(start).broadcast())
    found = client.send(LocalTraining({**start, "b": torch.tensor([9.0, 0.0])}, {"w": 1, "b": 1}))
    assert found["precision_mean/w"].tolist() == [1.0, 2.0]


def test_the_clip_scales_the_whole_update_to_the_norm():
    update = {"w": torch.tensor([3.0, 0.0]), "b": torch.tensor(4.0)}  # norm 5
    found = GaussianMechanism(clip=1.0, noise=0.0)(update)
    torch.testing.assert_close(found, {"w": torch.tensor([0.6, 0.0]), "b": torch.tensor(0.8)})
    torch.testing.assert_close(GaussianMechanism(clip=6.0, noise=0.0)(update), update)


def test_the_noise_has_its_deviation_and_ignores_the_seed_of_the_training():
    update = {"w": torch.zeros(100_000)}
    drawn = []
    for _ in range(2):
        torch.manual_seed(0)
        drawn.append(GaussianMechanism(clip=2.0, noise=1.5)(update)["w"])
    assert float(drawn[0].std()) == pytest.approx(3.0, rel=0.02)  # 9 standard errors
    assert abs(float(torch.corrcoef(torch.stack(drawn))[0, 1])) < 0.03


def test_the_noise_follows_from_no_seed_that_could_be_tried_out(monkeypatch):
    monkeypatch.setattr(secrets, "randbits", lambda bits: 7)  # a generator of torch keeps 32 bits of its seed
    update = {"w": torch.zeros(4)}
    first, second = (GaussianMechanism(clip=1.0, noise=1.0)(update)["w"] for _ in range(2))
    assert not torch.equal(first, second)


def test_normal_numbers_are_quantiles_of_random_bits(monkeypatch):
    monkeypatch.setattr(secrets, "token_bytes", lambda count: bytes(7) + b"\x40" + bytes(7) + b"\xc0")
    expected = torch.tensor([-0.67449, 0.67449], dtype=torch.float64)  # quartiles
    torch.testing.assert_close(normal_noise(torch.Size([2])), expected, atol=1e-5, rtol=0.0)
    monkeypatch.setattr(secrets, "token_bytes", lambda count: bytes(8) + b"\xff" * 8)
    assert normal_noise(torch.Size([2])).tolist() == pytest.approx([-8.2095, 8.2095], abs=1e-4)  # finite


@pytest.mark.parametrize("strategy", [FedAvg(), PVI(memory=False, isotropic=1.0)], ids=["fedavg", "bayesian"])
def test_weights_are_filtered_and_precisions_are_not(strategy):
    sent = message(strategy, [halve], {"w": torch.tensor([3.0, 2.0]), "b": torch.tensor(0.5)})
    precision = pick(sent, TensorKind.PRECISION)
    assert all(bool((value == 4.0).all()) for value in precision.values())
    torch.testing.assert_close(pick(sent, TensorKind.PRECISION_MEAN)["w"], torch.tensor([8.0, 8.0]))


def test_what_a_filter_removes_is_not_sent():
    sent = message(FedAvg(), [without_b], {name: value + 1.0 for name, value in START.items()})
    assert set(sent) == {"precision/w", "precision_mean/w"}


def test_the_servers_posterior_is_the_prior_times_the_clients_own_factor_after_noise():
    strategy = PVI(isotropic=1.0)
    server, client = strategy.server(START), FilteredClient(strategy.client(), [GaussianMechanism(1.0, 5.0)])
    for _ in range(3):
        client.receive(server.broadcast())
        trained = {name: value + 0.1 for name, value in START.items()}
        server.add(client.send(LocalTraining(trained, {"w": 4, "b": 4}, images_by_task={"lung": 4})))
        server.close_round()
    own, sent = client.own_factor({}), server.broadcast()
    prior = strategy.prior_precision
    for name, mean in START.items():
        precision = own[f"precision/{name}"] + prior
        assert bool((own[f"precision/{name}"] > 0).all())
        torch.testing.assert_close(sent[f"precision/{name}"], precision)
        expected = (own[f"precision_mean/{name}"] + prior * mean) / precision
        torch.testing.assert_close(sent[f"mean/{name}"], expected, rtol=1e-5, atol=1e-5)


def test_a_running_variance_stays_positive():
    start, noisy = {"norm.running_var": torch.tensor([0.5])}, lambda update: {"norm.running_var": torch.tensor([-3.0])}
    client = FilteredClient(FedAvg().client(), [noisy])
    client.receive(FedAvg().server(start).broadcast())
    sent = client.send(LocalTraining({"norm.running_var": torch.tensor([0.7])}, {"norm.running_var": 2}))
    torch.testing.assert_close(sent["precision_mean/norm.running_var"], torch.tensor([2 * SMALLEST_VARIANCE]))


FILTERED = {"bayesian", "fedavg", "fedavgm", "fedadam", "fedprox", "matching", "pfnm"}
"""Strategies whose messages follow from the filtered weights and the numbers of images."""


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("compress", ["", "float32"])
def test_strategies_that_send_more_than_weights_are_refused(name, compress):
    rule = make_strategy(name, compress=compress).client(PermutationGroups({}, {}))
    if name in FILTERED:
        FilteredClient(rule, [halve])
        return
    with pytest.raises(ValueError, match="update_filters expect a strategy"):
        FilteredClient(rule, [halve])


@pytest.mark.parametrize("settings", [{}, {"num_rounds": 2}], ids=["one phase", "two phases"])
def test_curvature_is_refused(settings):
    with pytest.raises(ValueError, match="update_filters expect a strategy"):
        FilteredClient(make_strategy("bayesian", curvature=1.0, **settings).client(), [halve])


@pytest.mark.parametrize("name", sorted(FILTERED))
def test_messages_depend_on_the_images_through_the_filtered_weights_alone(name):
    """Whatever else is known of the training: gradients and where they are 0, Gram matrices and losses."""
    strategy, sent = make_strategy(name), []
    for scale in (1.0, 5.0):
        client = FilteredClient(strategy.client(PermutationGroups({}, {})), [halve])
        client.receive(strategy.server(START).broadcast())
        known = {each: torch.full_like(value, scale) for each, value in START.items()}
        rows = {"w": torch.tensor([scale > 1.0, False])}
        more = {
            "squared_gradient": known,
            "input_gram": known,
            "unlearned": rows,
            "loss": scale,
            "relative_loss": scale,
        }
        trained = {each: value + 1.0 for each, value in START.items()}
        sent.append(client.send(LocalTraining(trained, dict.fromkeys(START, 4), **more)))
    assert set(sent[0]) == set(sent[1])
    assert all(torch.equal(value, sent[1][each]) for each, value in sent[0].items())


@pytest.mark.parametrize("taught_by", ["outputs", "labels"])
def test_nothing_is_sent_in_a_round_that_teaches_missing_labels(taught_by):
    """How many labels are completed depends on the images, and would be told by the message's precisions."""
    strategy = make_strategy("bayesian", num_rounds=1, distillation_rounds=1, taught_by=taught_by)
    training = LocalTraining(START, {"w": 4})
    server, client = strategy.server(START), FilteredClient(strategy.client(), [halve])
    client.receive(server.broadcast())
    assert client.send(training)
    server.close_round()
    client.receive(server.broadcast())
    assert client.send(training) == {}


@pytest.mark.parametrize("settings", [{}, {"compress": "float16"}])
def test_compressed_messages_may_be_filtered(settings):
    FilteredClient(make_strategy("bayesian", **settings).client(), [halve])


def test_the_number_of_messages_is_restored_and_the_loss_logged(caplog):
    client = FilteredClient(FedAvg().client(), [GaussianMechanism(1.0, 2.0)])
    restored = FilteredClient(FedAvg().client(), [GaussianMechanism(1.0, 2.0)])
    training = LocalTraining(START, {"w": 1})
    client.receive(FedAvg().server(START).broadcast())
    client.send(training)
    restored.load_state_dict(client.state_dict())
    restored.receive(FedAvg().server(START).broadcast())
    with caplog.at_level(logging.INFO, logger="mtmedformer"):
        restored.send(training)
    # dp_accounting 0.6.0: sensitivity 2, deviation 2, two compositions, epsilon 6.5730
    assert "After 2 messages, the updates are (6.57, 1e-05)-differentially private" in caplog.text


@pytest.mark.parametrize(
    ("before", "loss"),
    [([GaussianMechanism(1.0, 1.0)], "11.5"), ([halve], "inf"), ([], "inf")],
    ids=["less noise", "no noise", "no filter"],
)
def test_the_loss_counts_earlier_messages_with_their_own_noise(caplog, before, loss):
    """With a noise of 1, then 2: mu^2 = 4 + 1, as of five messages of 2 (docs/flare.md); two of these have 6.57."""
    earlier = FilteredClient(FedAvg().client(), before) if before else FedAvg().client()
    later = FilteredClient(FedAvg().client(), [GaussianMechanism(1.0, 2.0)])
    training, broadcast = LocalTraining(START, {"w": 1}), FedAvg().server(START).broadcast()
    earlier.receive(broadcast)
    earlier.send(training)
    later.load_state_dict(earlier.state_dict())
    later.receive(broadcast)
    with caplog.at_level(logging.INFO, logger="mtmedformer"):
        later.send(training)
    assert f"the updates are ({loss}, 1e-05)-differentially private" in caplog.text


NOISE = {"name": "gaussian", "clip": 1.0, "noise": 1.0}


@pytest.mark.parametrize(("before", "after"), [([], [NOISE]), ([NOISE], [])], ids=["added", "removed"])
def test_a_site_may_add_or_remove_its_filters_between_two_jobs(stock, tmp_path, before, after):
    strategy = make_strategy("bayesian")
    first, second = (stock(strategy, options={"update_filters": filters}) for filters in (before, after))
    server = Aggregator(strategy, weights_of(first))
    first.train(server.broadcast("site_1"))
    server.add(first.get_weights(), "site_1")
    server.close_round()
    first.save(tmp_path)
    second.restore(tmp_path)
    assert first.rule.own_factor({})
    assert_equal(first.rule.own_factor({}), second.rule.own_factor({}))
    second.train(server.broadcast("site_1"))
    server.add(second.get_weights(), "site_1")


@pytest.mark.parametrize("settings", [{}, {"compress": "float16"}], ids=["plain", "compressed"])
def test_a_state_without_filters_is_the_strategys_part_of_one_with_them(settings):
    strategy = make_strategy("bayesian", **settings)
    plain, filtered = strategy.client(), FilteredClient(strategy.client(), [halve])
    assert unfiltered(plain.state_dict()) == plain.state_dict() == unfiltered(filtered.state_dict())
    filtered.load_state_dict(plain.state_dict())
    assert filtered.state_dict() == {"rule": plain.state_dict(), "num_releases": 0, "mu_squared": math.inf}


@pytest.mark.parametrize("filters", [[], [NOISE]], ids=["plain", "filtered"])
def test_the_state_of_another_strategy_is_refused_with_the_remedy(stock, tmp_path, filters):
    stock(FedAvg()).save(tmp_path / "state")
    site = stock(PVI(), options={"update_filters": filters})
    with pytest.raises(
        ValueError, match=r"lacks the entry '\w+', which the client's strategy needs; restore the strat"
    ):
        site.restore(tmp_path / "state")


@pytest.mark.parametrize(
    ("listed", "reason"),
    [
        ({"name": "median"}, "a filter expects the name gaussian, svt"),
        ({"name": "gaussian", "clip": 1.0}, "'gaussian' has no such settings"),
        ({"name": "gaussian", "clip": 0.0, "noise": 1.0}, "clip above 0"),
    ],
)
def test_bad_settings_are_refused(listed, reason):
    with pytest.raises(ValueError, match=reason):
        make_filters([listed])


def test_a_client_with_filters_sends_no_losses_and_a_clipped_update(stock):
    site = stock(options={"update_filters": [{"name": "gaussian", "clip": 0.001, "noise": 0.0}]})
    before = {name: value.clone() for name, value in site.trainer.network.state_dict().items()}
    server = Aggregator(FedAvg(), before)
    losses = site.measure_losses(server.broadcast("site_1"))
    assert not losses.weights
    server.add_initial_losses(losses, "site_1")
    site.train(server.broadcast("site_1"))
    server.add(site.get_weights(), "site_1")
    server.close_round()
    after = server.weights()
    floats = [name for name, value in before.items() if value.is_floating_point()]
    norm = torch.cat([(after[name] - before[name]).flatten() for name in floats]).norm()
    assert float(norm) == pytest.approx(0.001, rel=1e-3)


class Percentile:
    """Has the attributes of a filter of FLARE."""

    def __init__(self, percentile):
        self.logger, self.percentile, self._applied = object(), percentile, 0


def test_filters_of_flare_with_equal_settings_have_one_text():
    """By it, a site that has restarted recognizes the terms of its last message."""
    one, restarted, other = Percentile(10), Percentile(10), Percentile(20)
    restarted._applied = 3
    assert repr(FlareFilter(one)) == repr(FlareFilter(restarted, context=object())) != repr(FlareFilter(other))
