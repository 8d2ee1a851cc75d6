"""The Flower strategy with sites that answer in this process."""

from __future__ import annotations

import pytest

pytest.importorskip("flwr", reason="Flower is not installed: pip install 'mtmedformer-monai[flower]'")

from flwr.app import ArrayRecord, ConfigRecord, Message
from flwr.supercore.task_identity import TaskIdentity

from mtmedformer_monai.federated.flower.messages import MEASURE, SITE, STEP, TRAIN, from_record, to_record
from mtmedformer_monai.federated.flower.strategy import SessionStrategy
from mtmedformer_monai.federated.job.settings import JobSettings
from tests.federated.scripted_sites import NUM_ROUNDS, assert_started_from_its_group, open_session, two_groups


class ScriptedGrid:
    """Flower's grid with scripted sites as nodes 1, 2, ..."""

    def __init__(self, sites):
        self.sites, self.steps = dict(sites), []

    def get_node_ids(self):
        return list(range(1, len(self.sites) + 1))

    def send_and_receive(self, messages, *, timeout=None):
        return [self._answer(message) for message in messages]

    def _answer(self, message):
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


@pytest.mark.parametrize("restarted", [False, True], ids=["within a run", "before a run that resumes"])
def test_a_node_that_connects_later_starts_from_its_groups_mean(tmp_path, restarted):
    sites, late = two_groups()
    grid, session = ScriptedGrid(sites), open_session(tmp_path)

    def start():
        strategy = SessionStrategy(session, JobSettings(num_rounds=NUM_ROUNDS), len(grid.sites))
        strategy.prepare(grid)
        return strategy

    strategy = start()
    for number in range(NUM_ROUNDS):
        if number == NUM_ROUNDS - 1:
            grid.sites["new"] = late
            strategy = start() if restarted else strategy
        tasks = strategy.configure_train(number + 1, ArrayRecord(), ConfigRecord(), grid)
        strategy.aggregate_train(number + 1, grid.send_and_receive(tasks))
    assert session.aggregator.accepted.keys() == {"a", "b", "new"}
    assert_started_from_its_group(session, sites, late)
    assert grid.steps.count((MEASURE, "new")) == 1
