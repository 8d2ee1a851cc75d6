"""FLARE's server component with sites that answer in this process."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("nvflare", reason="NVIDIA FLARE is not installed: pip install 'mtmedformer-monai[flare]'")

from nvflare.app_common.abstract.fl_model import FLModel

from mtmedformer_monai.federated.flare import controller as flare
from mtmedformer_monai.federated.flare.messages import (
    MEASURE,
    SITE_METRICS,
    STEP,
    TRAIN,
    from_model,
    read_result,
    to_model,
)
from mtmedformer_monai.federated.job.settings import JobSettings
from mtmedformer_monai.federated.sites_file import Site
from tests.federated.scripted_sites import NUM_ROUNDS, assert_started_from_its_group, open_session, two_groups


class LocalController(flare.FederationController):
    """Passes each task to its site at once; a site joins when a round begins.

    Args:
        joins: {number of closed rounds: {name: site}}.
    """

    def __init__(self, sites, joins, folder, **settings):
        super().__init__(JobSettings(num_rounds=NUM_ROUNDS, track=False, **settings).to_dict())
        self.sites, self.joins, self.folder, self.steps = dict(sites), joins, folder, []
        self.engine, self.abort_signal = self, SimpleNamespace(triggered=False)

    def _read_server(self):
        return Site(output=str(self.folder))

    def get_clients(self):
        self.sites |= self.joins.pop(self._session.aggregator.round, {})
        return [SimpleNamespace(name=name) for name in self.sites]

    def get_num_standing_tasks(self):
        return 0

    def send_model(self, data, targets, timeout, callback, **_):
        (name,), step = targets, data.meta[STEP]
        self.steps.append((self._session.aggregator.round, step, name))
        answers = {MEASURE: self.sites[name].measure, TRAIN: self.sites[name].train}
        callback(to_model(answers[step](from_model(data))) if step in answers else FLModel(params={}, meta={}))


class SilentSiteController(LocalController):
    """The site `c` never answers; its tasks stand for two looks."""

    standing = 0

    def get_num_standing_tasks(self):
        self.standing = max(0, self.standing - 1)
        return self.standing

    def send_model(self, data, targets, **others):
        if targets == ["c"]:
            self.steps.append((self._session.aggregator.round, data.meta[STEP], "c"))
            self.standing = 3
        else:
            super().send_model(data, targets, **others)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a federation with sites that join later; returns the controller."""
    monkeypatch.setattr(flare, "open_session", lambda *_: open_session(tmp_path))
    monkeypatch.setattr(flare, "write_results", lambda *_: [])
    monkeypatch.setattr(flare, "PERIOD", 0.001)

    def play(sites, joins, kind=LocalController, **settings):
        controller = kind(sites, joins, tmp_path, **settings)
        controller.run()
        return controller

    return play


def test_a_site_that_joins_later_starts_from_its_groups_mean(run):
    sites, late = two_groups()
    done = run(sites, {NUM_ROUNDS - 1: {"new": late}})
    assert_started_from_its_group(done._session, sites, late)
    asked = [(number, name) for number, step, name in done.steps if step == MEASURE]
    assert asked == [(0, "a"), (0, "b"), (NUM_ROUNDS - 1, "new")]


def test_groups_that_part_train_two_more_rounds_also_with_a_site_that_joins_in_them(run, tmp_path, monkeypatch):
    monkeypatch.setattr(flare, "open_session", lambda *_: open_session(tmp_path, distillation_rounds=None))
    sites, late = two_groups()
    done = run(sites, {NUM_ROUNDS: {"new": late}})
    assert done._session.aggregator.round == NUM_ROUNDS + 2
    assert [name for number, step, name in done.steps if (number, step) == (NUM_ROUNDS, TRAIN)] == ["a", "b", "new"]
    shared = [site.received[-1] for site in (*sites.values(), late)]
    assert all(torch.equal(each, shared[0]) for each in shared)
    again = run(sites, {})  # the same job submitted again is finished
    assert [step for _, step, _ in again.steps if step == TRAIN] == []


def test_a_site_that_joins_after_the_last_round_evaluates_its_groups_mean(run):
    sites, late = two_groups()
    done = run(sites, {NUM_ROUNDS: {"new": late}})
    assert done._session.aggregator.images_by_task["new"] == {"masks": 100}
    assert late.received == []


def test_a_new_site_that_never_answers_is_awaited_once_per_round_and_delays_no_other(run):
    sites, late = two_groups()
    done = run(sites, {2: {"c": late}}, SilentSiteController, min_sites=2)
    asked = [(number, step) for number, step, name in done.steps if name == "c"]
    assert asked == [(number, MEASURE) for number in range(2, NUM_ROUNDS + 1)]
    trained = [(number, name) for number, step, name in done.steps if step == TRAIN]
    assert trained == [(number, name) for number in range(NUM_ROUNDS) for name in "ab"]


def test_a_new_site_gets_what_is_left_of_the_rounds_time(run, monkeypatch):
    timeouts, clock = [], iter(range(0, 100_000, 10))
    monkeypatch.setattr(flare.time, "monotonic", lambda: float(next(clock)))

    class Timed(LocalController):
        def send_model(self, data, targets, timeout, **others):
            timeouts.append((targets[0], data.meta[STEP], timeout))
            super().send_model(data, targets, timeout, **others)

    sites, late = two_groups()
    run(sites, {NUM_ROUNDS - 1: {"new": late}}, Timed, round_timeout=100)
    of_new = [(step, timeout) for name, step, timeout in timeouts if name == "new" and step in (MEASURE, TRAIN)]
    assert [step for step, _ in of_new] == [MEASURE, TRAIN]
    assert of_new[0][1] == 100 > of_new[1][1] > 0


def test_metrics_that_overflow_or_would_forge_a_log_stop_no_server():
    stated = {"lung_dice": 0.5, "global\nRound 2": 1.0, "loss": 10**400}
    _, metrics = read_result(FLModel(params={}, meta={SITE_METRICS: stated}))
    assert metrics.keys() == {"lung_dice", "loss"}
    assert metrics["lung_dice"] == 0.5
