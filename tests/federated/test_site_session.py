"""A site that is killed, or whose messages are lost."""

from __future__ import annotations

import logging

import pytest
import torch

from mtmedformer_monai.federated.aggregator import Aggregator
from mtmedformer_monai.federated.client.client_options import ClientOptions
from mtmedformer_monai.federated.exchange import ROUND, plain_statistics, to_exchange
from mtmedformer_monai.federated.server_session import FEDERATION, ServerSession
from mtmedformer_monai.federated.site_session import MESSAGE, MODEL, SiteSession
from mtmedformer_monai.federated.strategies import make_strategy
from tests.federated.rounds import assert_equal, weights_of


class Federation:
    """A server and one site of the stock bundle, whose processes can be replaced."""

    def __init__(self, folder, stock, strategy, name="one"):
        self.folder, self.strategy = folder / name, strategy
        self.make_client = lambda: stock(make_strategy(strategy))
        self.start = weights_of(self.make_client())
        self.open_server()
        self.open_site()

    def open_server(self):
        aggregator = Aggregator(make_strategy(self.strategy), self.start)
        self.server = ServerSession(aggregator, self.folder / "server", {})

    def open_site(self):
        self.site = SiteSession(self.make_client, self.folder / "site")

    def round(self, deliver=True):
        message = self.site.train(self.server.broadcast("a"))
        if deliver:
            assert self.server.add(message, "a"), self.server.refused
        self.server.close_round()
        return message


@pytest.fixture(params=["bayesian", "fedavg"])
def make(request, tmp_path, stock):
    return lambda name="one": Federation(tmp_path, stock, request.param, name)


def test_a_site_that_is_killed_between_rounds_continues_bit_for_bit(make):
    whole, killed = make("whole"), make("killed")
    for number in range(3):
        if number:
            killed.open_site()
        assert_equal(whole.round().weights, killed.round().weights)


@pytest.mark.parametrize(
    "changed",
    [{"update_filters": [{"name": "percentile"}]}, {"privacy_budget": {"epsilon": 1.0}}],
    ids=["filter", "budget"],
)
def test_a_message_that_was_not_delivered_is_not_sent_once_the_site_has_set_a_filter(make, caplog, changed):
    caplog.set_level(logging.INFO, logger="mtmedformer")
    federation = make()
    broadcast = federation.server.broadcast("a")
    federation.site.train(broadcast)
    federation.open_site()
    federation.site.train(broadcast)
    assert caplog.text.count("the message is sent again") == 1
    federation.open_site()
    federation.site.client.options = ClientOptions(**changed)
    federation.site.train(broadcast)
    assert caplog.text.count("the message is sent again") == 1


def test_a_message_that_was_refused_is_computed_anew_after_a_restart_and_then_sent_again(make, caplog):
    """Else a corrected site would send the refused message whenever the job is submitted again."""
    caplog.set_level(logging.INFO, logger="mtmedformer")
    federation = make()
    message = federation.site.train(federation.server.broadcast("a"))
    bad = to_exchange({**message.weights, "precision/other": torch.ones(1)}, message.statistics)
    assert not federation.server.add(bad, "a")
    federation.open_server()
    federation.open_site()
    corrected = federation.site.train(federation.server.broadcast("a"))
    assert "the message is sent again" not in caplog.text
    assert federation.server.add(corrected, "a")
    federation.open_server()
    federation.site.train(federation.server.broadcast("a"))
    assert "the message is sent again" in caplog.text


def test_an_evaluation_leaves_the_weights_with_which_the_site_infers(make):
    """They are the broadcast ones for averages, and count a factor twice where it has one; also in a new process."""
    federation, found = make(), []
    federation.site.client.options = ClientOptions(personal=True)
    federation.round()
    broadcast = federation.server.broadcast("a")
    for _ in range(2):
        metrics = federation.site.evaluate(broadcast)
        assert "val_dice" in metrics
        found.append(torch.load(federation.folder / "site" / MODEL))
        federation.open_site()
        federation.site.client.options = ClientOptions(personal=True)
    assert_equal(*found)
    same = all(torch.equal(value, found[0][name]) for name, value in federation.server.aggregator.weights().items())
    assert same == (federation.strategy == "fedavg")


def test_a_message_that_was_lost_is_as_if_it_had_never_been_computed(make):
    lossy, fresh = make("lossy"), make("fresh")
    lossy.round(deliver=False)
    fresh.server.close_round()
    one, other = lossy.round(), fresh.round()
    assert one.statistics[ROUND] == other.statistics[ROUND] == 1
    assert_equal(one.weights, other.weights)
    lossy.round()
    fresh.round()
    assert_equal(lossy.server.aggregator.weights(), fresh.server.aggregator.weights())


def test_an_evaluation_leaves_out_a_message_that_the_server_has_not_accepted(make):
    lossy, fresh = make("lossy"), make("fresh")
    for each in (lossy, fresh):
        each.site.client.options = ClientOptions(personal=True)
    lossy.round(deliver=False)
    fresh.server.close_round()
    for each in (lossy, fresh):
        each.site.evaluate(each.server.broadcast("a"))
    assert_equal(*(torch.load(each.folder / "site" / MODEL) for each in (lossy, fresh)))
    assert_equal(lossy.round().weights, fresh.round().weights)


def test_an_evaluation_does_not_make_a_computed_message_be_trained_again(make, monkeypatch):
    federation, whole = make(), make("whole")
    broadcast = federation.server.broadcast("a")
    first = federation.site.train(broadcast)
    federation.site.evaluate(broadcast)
    with monkeypatch.context() as patch:
        patch.setattr(federation.site.client, "train", lambda *_: pytest.fail("trained again"))
        assert_equal(first.weights, federation.round().weights)
    whole.round()
    assert_equal(federation.round().weights, whole.round().weights)


def test_a_message_that_was_not_delivered_is_sent_again_without_training(make, monkeypatch):
    federation = make()
    broadcast = federation.server.broadcast("a")
    first = federation.site.train(broadcast)
    federation.open_site()
    monkeypatch.setattr(federation.site.client, "train", lambda *_: pytest.fail("trained again"))
    again = federation.site.train(broadcast)
    assert_equal(first.weights, again.weights)
    assert plain_statistics(again) == plain_statistics(first)
    assert federation.server.add(again, "a")


def test_a_killed_server_and_a_killed_site_find_each_other_again(make):
    whole, killed = make("whole"), make("killed")
    for number in range(2):
        whole.round()
        message = killed.site.train(killed.server.broadcast("a"))
        killed.open_server()  # before the message arrives
        killed.open_site()
        again = killed.site.train(killed.server.broadcast("a"))
        assert_equal(message.weights, again.weights)
        assert killed.server.add(again, "a")
        killed.open_server()  # before the round is closed
        assert killed.server.aggregator.round == number
        assert killed.server.missing(["a"]) == []
        killed.server.close_round()
    assert_equal(whole.server.aggregator.weights(), killed.server.aggregator.weights())


def test_a_site_that_is_killed_while_its_state_is_written_resumes_from_the_state_before(make):
    whole, killed = make("whole"), make("killed")
    for each in (whole, killed):
        each.round()
    (killed.folder / "site/state_1").mkdir()
    (killed.folder / "site/state_1/client.pt.1.partial").touch()
    killed.open_site()
    assert_equal(whole.round().weights, killed.round().weights)


def test_a_state_without_its_file_is_no_state(make):
    federation = make()
    federation.round()
    (federation.folder / "site/state_0/client.pt").unlink()
    federation.open_site()
    with pytest.raises(ValueError, match=r"accepted a message of round 1, but .* has no state after it; restore"):
        federation.site.train(federation.server.broadcast("a"))


def test_a_new_federation_starts_from_the_initial_state(make):
    old, new = make("old"), make("new")
    expected = new.round()
    old.round()
    old.folder = new.folder.parent / "again"
    old.open_server()
    before = (new.folder.parent / "old/site" / MESSAGE).stat().st_mtime_ns
    site = SiteSession(old.make_client, new.folder.parent / "old/site")
    assert_equal(site.train(old.server.broadcast("a")).weights, expected.weights)
    assert (new.folder.parent / "old/site" / MESSAGE).stat().st_mtime_ns > before


def test_a_process_serves_one_federation(make):
    one, other = make("one"), make("other")
    one.round()
    with pytest.raises(ValueError, match="trained for another federation; start a new one"):
        one.site.train(other.server.broadcast("a"))


def test_a_site_that_has_lost_its_state_is_told_so(make, tmp_path):
    federation = make()
    federation.round()
    federation.folder = tmp_path / "one"
    lost = SiteSession(federation.make_client, tmp_path / "lost")
    with pytest.raises(ValueError, match=r"accepted a message of round 1, but .* has no state after it; restore"):
        lost.train(federation.server.broadcast("a"))


def test_losses_and_metrics_leave_the_training_unchanged(make):
    measured, plain = make("measured"), make("plain")
    sent = measured.server.broadcast("a")
    measured.site.measure(sent)
    metrics = measured.site.evaluate(sent)
    assert 0.0 <= metrics["val_dice"] <= 1.0
    assert_equal(measured.round().weights, plain.round().weights)


def test_a_broadcast_without_a_round_is_refused(make):
    federation = make()
    sent = federation.server.broadcast("a")
    sent.statistics = {FEDERATION: sent.statistics[FEDERATION]}
    with pytest.raises(ValueError, match="expects a broadcast with its round"):
        federation.site.train(sent)
