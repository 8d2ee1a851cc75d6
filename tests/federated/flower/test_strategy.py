"""The Flower strategy with sites that answer in this process."""

from __future__ import annotations

import pytest

pytest.importorskip("flwr", reason="Flower is not installed: pip install 'mtmedformer-monai[flower]'")

from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from mtmedformer_monai.federated.flower import strategy as strategy_module
from mtmedformer_monai.federated.flower.messages import MEASURE, SITE, STEP, TRAIN, from_record, to_record
from mtmedformer_monai.federated.flower.strategy import SessionStrategy
from mtmedformer_monai.federated.job.settings import JobSettings
from tests.federated.flower.answering_grid import AnsweringGrid
from tests.federated.scripted_sites import NUM_ROUNDS, assert_started_from_its_group, open_session, two_groups


class ScriptedGrid(AnsweringGrid):
    """Flower's grid with scripted sites as nodes 1, 2, ..."""

    def __init__(self, sites):
        super().__init__()
        self.sites, self.steps = dict(sites), []

    def get_node_ids(self):
        return list(range(1, len(self.sites) + 1))

    def answer(self, message):
        node = message.metadata.dst_node_id
        name, site = list(self.sites.items())[node - 1]
        broadcast, entries = from_record(message.content)
        self.steps.append((entries[STEP], name))
        answer = {MEASURE: site.measure, TRAIN: site.train}[entries[STEP]](broadcast)
        return Message(to_record(answer, **{SITE: name}), reply_to=message)


@pytest.fixture(autouse=True)
def _task(monkeypatch):
    """Sets the identity that Flower gives to a server app's process."""
    for name in ("_task_id", "_run_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)


def prepared(grid, session):
    """Returns a strategy that knows the nodes that are connected now."""
    strategy = SessionStrategy(session, JobSettings(num_rounds=NUM_ROUNDS), len(grid.sites))
    strategy.prepare(grid)
    return strategy


@pytest.mark.parametrize("restarted", [False, True], ids=["within a run", "before a run that resumes"])
def test_a_node_that_connects_later_starts_from_its_groups_mean(tmp_path, restarted):
    sites, late = two_groups()
    grid, session = ScriptedGrid(sites), open_session(tmp_path)
    strategy = prepared(grid, session)
    for number in range(NUM_ROUNDS):
        if number == NUM_ROUNDS - 1:
            grid.sites["new"] = late
            strategy = prepared(grid, session) if restarted else strategy
        tasks = strategy.configure_train(number + 1, ArrayRecord(), ConfigRecord(), grid)
        strategy.aggregate_train(number + 1, grid.send_and_receive(tasks))
    assert session.aggregator.accepted.keys() == {"a", "b", "new"}
    assert_started_from_its_group(session, sites, late)
    assert grid.steps.count((MEASURE, "new")) == 1


def test_a_new_node_that_answers_late_holds_up_no_round_and_then_takes_part(tmp_path, monkeypatch):
    """It is asked once, its answer is looked for in vain throughout two rounds, and it takes part in the third."""
    monkeypatch.setattr(strategy_module, "PATIENCE", 0.0)
    sites, late = two_groups()
    grid = ScriptedGrid(sites)
    strategy = prepared(grid, open_session(tmp_path))
    grid.sites["new"], grid.late[3] = late, 2
    trained = []
    for number in range(3):
        tasks = list(strategy.configure_train(number + 1, ArrayRecord(), ConfigRecord(), grid))
        trained.append(sorted(task.metadata.dst_node_id for task in tasks))
        strategy.aggregate_train(number + 1, grid.send_and_receive(tasks))
    assert trained == [[1, 2], [1, 2], [1, 2, 3]]
    assert grid.steps.count((MEASURE, "new")) == 1


def test_a_round_waits_for_a_new_nodes_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(strategy_module, "PERIOD", 0.0)
    sites, late = two_groups()
    grid = ScriptedGrid(sites)
    strategy = prepared(grid, open_session(tmp_path))
    grid.sites["new"], grid.late[3] = late, 5
    tasks = strategy.configure_train(1, ArrayRecord(), ConfigRecord(), grid)
    assert sorted(task.metadata.dst_node_id for task in tasks) == [1, 2, 3]


@pytest.mark.parametrize("data", [b"", b"\x93NUMPY\x01\x00\x10\x00((((((((((((((((", b"PK\x03\x04abc"])
def test_arrays_that_cannot_be_read_are_an_error_of_the_message(data):
    arrays = ArrayRecord({"w": Array("float32", (1,), "numpy.ndarray", data)})
    with pytest.raises(ValueError, match="expects arrays as Flower writes them"):
        from_record(RecordDict({"arrays": arrays, "entries": ConfigRecord({})}))


def test_statistics_that_are_nested_too_deeply_are_an_error_of_the_message():
    entries = ConfigRecord({"statistics": "[" * 100_000})
    with pytest.raises(ValueError, match="statistics expects JSON"):
        from_record(RecordDict({"arrays": ArrayRecord(), "entries": entries}))


@pytest.mark.parametrize("name", ["", "../a", "a\nb"])
def test_a_node_without_a_name_of_a_site_is_refused(tmp_path, name):
    sites, late = two_groups()
    grid, session = ScriptedGrid({**sites, name: late}), open_session(tmp_path)
    strategy = SessionStrategy(session, JobSettings(num_rounds=NUM_ROUNDS, min_sites=2), 3)
    strategy.prepare(grid)
    assert session.aggregator.measured == ["a", "b"]
    assert "names consist of letters" in session.refused["node 3"]
