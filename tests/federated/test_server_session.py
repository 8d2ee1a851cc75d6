"""Sites that fail, are late or send bad messages, and a server that is killed: nothing is lost, the round goes on."""

from __future__ import annotations

import datetime
import logging

import numpy as np
import pytest
import torch
from monai.fl.utils.constants import WeightType
from monai.fl.utils.exchange_object import ExchangeObject

from mtmedformer_monai.federated.aggregator import Aggregator
from mtmedformer_monai.federated.exchange import ACCEPTED, IMAGES_BY_TASK, NO_ROUND, ROUND, to_exchange
from mtmedformer_monai.federated.server_session import FEDERATION, MOST_MESSAGES, STATE, ServerSession
from mtmedformer_monai.federated.strategies import make_strategy
from mtmedformer_monai.federated.wire import Wire
from mtmedformer_monai.io.atomic_files import load_checkpoint, save_state

START = {"w": torch.tensor([1.0, 2.0]), "count": torch.tensor(7)}
SETTINGS = {"strategy": "fedavg", "seed": 0}


@pytest.fixture
def session(tmp_path):
    """Opens the session, again and again in the same folder."""

    def make(strategy="fedavg", folder="server", settings=SETTINGS):
        return ServerSession(Aggregator(make_strategy(strategy), START), tmp_path / folder, settings)

    return make


def terms(value, count, number=0, **changed):
    tensors = {
        "precision_mean/w": torch.full((2,), float(value * count)),
        "precision/w": torch.full((2,), float(count)),
    }
    tensors |= {name.replace("_of_", "/"): tensor for name, tensor in changed.items()}
    return to_exchange({name: tensor for name, tensor in tensors.items() if tensor is not None}, {ROUND: number})


BAD = {
    "NaN": (terms(float("nan"), 2), "not finite"),
    "infinity": (terms(float("inf"), 2), "not finite"),
    "infinite precision": (terms(1.0, 2, precision_of_w=torch.full((2,), torch.inf)), "not finite"),
    "shape": (terms(1.0, 2, precision_mean_of_w=torch.ones(3), precision_of_w=torch.ones(3)), "expects the shape"),
    "mean alone": (terms(1.0, 2, precision_of_w=None), "expects precision_mean and precision"),
    "precision alone": (terms(1.0, 2, precision_mean_of_w=None), "expects precision_mean and precision"),
    "negative precision": (terms(1.0, 2, precision_of_w=torch.tensor([2.0, -1.0])), "negative precision of 'w'"),
    "other network": (
        terms(1.0, 2, precision_of_v=torch.ones(2), precision_mean_of_v=torch.ones(2)),
        "another network",
    ),
    "other round": (terms(1.0, 2, number=3), "sent a message for round 3, but the current round is 0"),
    "text": (terms(1.0, 2, precision_of_w="2"), "expects a dense tensor"),
}


@pytest.mark.parametrize("strategy", ["fedavg", "fedadam", "scaffold", "fedmix", "kronecker", "bayesian"])
@pytest.mark.parametrize("fault", BAD)
def test_a_bad_message_is_refused_with_its_site_and_reason_and_the_round_goes_on(session, caplog, strategy, fault):
    message, reason = BAD[fault]
    with_fault, without = session(strategy, "with"), session(strategy, "without")
    with caplog.at_level(logging.WARNING, "mtmedformer"):
        assert not with_fault.add(message, "hospital_b")
    assert "Round 1: the message of hospital_b is refused" in caplog.text
    assert reason in caplog.text
    assert reason in with_fault.refused["hospital_b"]
    for each in (with_fault, without):
        assert each.add(terms(3.0, 2), "hospital_a")
        each.close_round()
    assert torch.equal(with_fault.aggregator.weights()["w"], without.aggregator.weights()["w"])
    assert not torch.equal(with_fault.aggregator.weights()["w"], START["w"])
    assert with_fault.refused == {}


def test_what_a_site_states_beside_its_message_stops_no_restart(session):
    """The journal keeps what the server uses, as plain numbers."""
    server, message = session(), terms(3.0, 2)
    message.statistics |= {"since": datetime.date(2026, 1, 1), IMAGES_BY_TASK: {"lung": np.int64(2)}}
    assert server.add(message, "a")
    again = session()
    assert again.aggregator.clients == ["a"]
    assert again.aggregator.images_by_task == {"a": {"lung": 2}}


def test_a_reason_with_text_of_a_site_forges_no_line_of_the_log(session, caplog):
    server = session()
    server.refuse("a", "no such\nRound 3: done\x1b[0m" + "x" * 1000)
    assert server.refused["a"].startswith("no such Round 3: done [0mxxx")
    assert len(server.refused["a"]) < 510
    assert len(caplog.messages[0].splitlines()) == 1
    assert len(caplog.messages[0]) < 600


def test_a_site_that_sent_a_bad_message_may_send_a_good_one_in_the_same_round(session):
    server = session()
    assert not server.add(terms(float("nan"), 2), "a")
    assert server.missing(["a", "b"]) == ["a", "b"]
    assert server.add(terms(3.0, 2), "a")
    assert server.refused == {}
    assert server.missing(["a", "b"]) == ["b"]


def test_a_negative_precision_is_refused_in_later_rounds_of_an_average(session):
    server = session()
    server.add(terms(3.0, 2), "a")
    server.close_round()
    server.add(terms(5.0, 8, number=1), "b")
    assert not server.add(terms(3.0, -2, number=1), "a")
    server.close_round()
    assert server.aggregator.weights()["w"].tolist() == [5.0, 5.0]


def change(precision_mean, precision, number=0):
    """Returns the change of a factor; a precision may be one number per weight."""
    tensors = {
        "precision_mean/w": torch.full((2,), precision_mean),
        "precision/w": torch.as_tensor(precision).expand(2),
    }
    return to_exchange(tensors, {ROUND: number})


@pytest.mark.parametrize("taken", [-9.0, [-9.0, -8.0]], ids=["constant", "by weight"])
@pytest.mark.parametrize("compress", ["", "float32"], ids=["plain", "compressed"])
def test_a_site_of_a_posterior_cannot_take_away_more_precision_than_it_gave(tmp_path, caplog, taken, compress):
    strategy = make_strategy("bayesian", compress=compress)
    server = ServerSession(Aggregator(strategy, START), tmp_path, {})

    def packed(message):
        return to_exchange(Wire().encode(message.weights), message.statistics) if compress else message

    for site, precision in (("a", 4.0), ("b", 90.0)):
        assert server.add(packed(change(precision * 3.0, precision)), site)
    server.close_round()
    before = server.aggregator.weights()["w"].clone()
    assert not server.add(packed(change(0.0, taken, number=1)), "a")
    assert "the message of a is refused: ValueError: client 'a' takes" in caplog.text
    assert "of the precision of 'w' away, of which it has given 4" in caplog.text
    assert server.add(packed(change(-9.0, -3.0, number=1)), "a")  # part of its own: -3 of 4
    assert server.add(packed(change(-270.0, -90.0, number=1)), "b")  # withdraws
    server.close_round()
    # 12 - 9 of 4 - 3: the mean is 3 as before, but for the prior, whose precision is 1e-5
    torch.testing.assert_close(server.aggregator.weights()["w"], before, rtol=0, atol=1e-4)


def test_a_negative_precision_in_a_compressed_first_message_is_refused(tmp_path):
    server = ServerSession(Aggregator(make_strategy("bayesian", compress="float32"), START), tmp_path, {})
    message = Wire().encode(change(1.0, -1.0).weights)
    assert not server.add(to_exchange(message, {ROUND: 0}), "a")
    assert "sent a negative precision of 'w'" in server.refused["a"]


def test_sites_that_die_are_late_or_return(session):
    server = session()
    server.add(terms(3.0, 1), "a")
    server.add(terms(5.0, 1), "b")
    server.close_round()
    server.add(terms(7.0, 1, number=1), "a")  # b has died
    server.close_round()
    assert server.aggregator.weights()["w"].tolist() == [7.0, 7.0]
    assert not server.add(terms(5.0, 1, number=1), "b")  # too late
    assert "current round is 2" in server.refused["b"]
    assert server.broadcast("a").statistics[ACCEPTED] == 1
    assert server.broadcast("b").statistics[ACCEPTED] == 0
    assert server.broadcast("c").statistics[ACCEPTED] == NO_ROUND
    server.add(terms(1.0, 3, number=2), "b")  # returns
    server.add(terms(9.0, 1, number=2), "a")
    server.close_round()
    assert server.aggregator.weights()["w"].tolist() == [3.0, 3.0]  # (3 * 1 + 9) / 4


@pytest.mark.parametrize("strategy", ["fedavg", "bayesian"])
def test_sites_of_20_and_2000_images_count_by_their_images(session, strategy):
    server, small, large = session(strategy), terms(3.0, 20), terms(5.0, 2000)
    assert server.add(small, "small")
    assert server.add(large, "large")
    server.close_round()
    expected = torch.full((2,), (3.0 * 20 + 5.0 * 2000) / 2020)
    torch.testing.assert_close(server.aggregator.weights()["w"], expected, rtol=1e-6, atol=0)


def play(session, strategy, kill_after):
    """Plays two rounds of two sites; reopens the session after the given steps."""
    folder = f"killed_{kill_after}"
    server = session(strategy, folder)
    losses = to_exchange({"loss_sum/lung": torch.tensor(6.0), "loss_count/lung": torch.tensor(3.0)}, {})
    steps = [
        lambda: server.add_losses(losses, "a"),
        lambda: server.add(terms(3.0, 2), "a"),
        lambda: server.add(terms(5.0, 4), "b"),
        lambda: server.close_round(),
        lambda: server.add(terms(4.0, 1, number=1), "b"),
        lambda: server.add(terms(9.0, 3, number=1), "a"),
        lambda: server.close_round(),
    ]
    for number, step in enumerate(steps):
        step()
        if number == kill_after:
            server = session(strategy, folder)
    return server


@pytest.mark.parametrize("strategy", ["fedavg", "bayesian"])
@pytest.mark.parametrize("kill_after", range(7))
def test_a_killed_server_resumes_at_the_same_step_with_an_equal_result(session, strategy, kill_after):
    whole, killed = play(session, strategy, None), play(session, strategy, kill_after)
    assert killed.aggregator.round == 2
    expected, found = (each.broadcast("a") for each in (whole, killed))
    assert found.weights.keys() == expected.weights.keys()
    assert all(torch.equal(value, expected.weights[name]) for name, value in found.weights.items())
    assert found.statistics[ACCEPTED] == 1


@pytest.mark.parametrize("count", [3, MOST_MESSAGES, MOST_MESSAGES + 1, MOST_MESSAGES + 3])
def test_any_number_of_messages_survives_a_kill(session, count):
    server = session("bayesian")
    for number in range(count):
        assert server.add(terms(3.0 + 0.1 * number, 1 + number % 3), f"site_{number}")
    again = session("bayesian")
    assert again.aggregator.clients == server.aggregator.clients
    for each in (server, again):
        each.close_round()
    assert torch.equal(server.aggregator.weights()["w"], again.aggregator.weights()["w"])
    assert session("bayesian").aggregator.round == 1


@pytest.mark.parametrize("closed", [False, True], ids=["within the round", "after it"])
def test_a_kill_between_the_state_and_the_end_of_its_messages_counts_none_twice(session, tmp_path, closed):
    server, folder = session(), tmp_path / "server"
    server.add(terms(3.0, 2), "a")
    server.add(terms(5.0, 4), "b")
    messages = {path: path.read_bytes() for path in folder.glob("message_*.pt")}
    assert len(messages) == 2
    server.close_round() if closed else server.save()
    assert not list(folder.glob("message_*.pt"))
    for path, content in messages.items():
        path.write_bytes(content)
    again = session()
    assert again.aggregator.round == int(closed)
    assert again.aggregator.clients == server.aggregator.clients
    for each in (server, again):
        assert each.add(terms(9.0, 1, number=int(closed)), "c")
        each.close_round()
    assert torch.equal(server.aggregator.weights()["w"], again.aggregator.weights()["w"])


def test_a_stock_clients_difference_survives_a_kill(session):
    server = session()
    change = ExchangeObject({"w": torch.tensor([0.5, 0.5])}, weight_type=WeightType.WEIGHT_DIFF, statistics={})
    assert server.add(change, "stock")
    again = session()
    again.close_round()
    assert again.aggregator.weights()["w"].tolist() == [1.5, 2.5]


@pytest.mark.parametrize("weights", [None, {}], ids=["none", "empty"])
def test_a_site_without_labels_has_no_losses_and_survives_a_kill(session, weights):
    empty = ExchangeObject(weights, weight_type=WeightType.WEIGHTS, statistics={})
    assert session().add_losses(empty, "a")
    assert session().unmeasured(["a", "b"]) == ["b"]


@pytest.mark.parametrize("killed", [False, True], ids=["running", "killed"])
def test_a_site_that_joins_later_is_introduced_once_and_leaves_the_scales_as_they_are(session, killed):
    losses = {"loss_sum/lung": torch.tensor(6.0), "loss_count/lung": torch.tensor(3.0)}
    server = session()
    server.add_losses(to_exchange(losses, {IMAGES_BY_TASK: {"lung": 3}}), "a")
    server.add(terms(3.0, 2), "a")
    server.close_round()
    assert server.unknown(["a", "b"]) == ["b"]
    later = {name: value * 5 for name, value in losses.items()}
    assert server.introduce(to_exchange(later, {IMAGES_BY_TASK: {"lung": 15, "heart": 0}}), "b")
    server = session() if killed else server
    assert server.unknown(["a", "b"]) == []
    assert server.missing(["a", "b"]) == ["a", "b"]
    assert server.aggregator.images_by_task["b"] == {"lung": 15, "heart": 0}
    assert float(server.broadcast("b").weights["setting/initial_loss/lung"]) == 2.0
    assert server.add(terms(5.0, 2, number=1), "b")


def test_an_introduction_by_something_else_is_refused(session):
    server = session()
    assert not server.introduce(to_exchange({}, {IMAGES_BY_TASK: {"lung": "many"}}), "b")
    assert "expects a number of images by task" in server.refused["b"]
    assert server.unknown(["b"]) == ["b"]


def test_messages_of_a_federation_that_was_deleted_do_not_count(session, tmp_path):
    session().add(terms(3.0, 2), "a")
    (tmp_path / "server" / STATE).unlink()
    server = session()
    assert server.aggregator.clients == []
    assert server.add(terms(5.0, 2), "b")
    assert session().aggregator.clients == ["b"]


def test_a_restarted_server_asks_only_the_sites_that_have_not_answered(session):
    server = session()
    server.add(terms(3.0, 2), "a")
    identifier = server.broadcast("a").statistics[FEDERATION]
    again = session()
    assert again.missing(["a", "b"]) == ["b"]
    assert again.broadcast("b").statistics[FEDERATION] == identifier
    assert not again.add(terms(3.0, 2), "a")
    assert "has sent in round 0 already" in again.refused["a"]


def test_a_state_of_other_settings_is_not_resumed(session, tmp_path):
    session().save()
    before = (tmp_path / "server" / STATE).read_bytes()
    with pytest.raises(ValueError, match="another value of seed"):
        session(settings={**SETTINGS, "seed": 1})
    assert (tmp_path / "server" / STATE).read_bytes() == before


def test_a_state_of_another_format_is_not_resumed(session, tmp_path):
    session().save()
    path = tmp_path / "server" / STATE
    save_state({**load_checkpoint(path), "format": 0}, path)
    with pytest.raises(ValueError, match="written by another version of this package; finish the federation with"):
        session()


def test_an_error_of_the_server_itself_is_not_taken_for_a_bad_message(session, monkeypatch):
    server = session()
    monkeypatch.setattr(server.aggregator, "add", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        server.add(terms(3.0, 2), "a")


def test_notes_of_the_engine_are_kept(session):
    server = session()
    server.notes["run_id"] = "abc"
    server.save()
    assert session().notes == {"run_id": "abc"}


def test_two_federations_have_different_identifiers(session):
    one, other = session(folder="one"), session(folder="other")
    assert one.broadcast("a").statistics[FEDERATION] != other.broadcast("a").statistics[FEDERATION]


def test_the_broadcast_is_that_of_the_aggregator(session):
    sent = session().broadcast("a")
    assert torch.equal(sent.weights["mean/w"], START["w"])
    assert sent.statistics[ROUND] == 0
