"""A worker that is killed (SIGKILL) at any point and restarted ends with exactly one result for each image."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections import Counter

import pytest

from mtmedformer_monai.deploy.headers.uids import derived_uid
from mtmedformer_monai.deploy.serve.archive import DicomWebArchive
from tests.deploy.serve.chest_images import uid, write_chest
from tests.deploy.serve.conftest import config_for, settle, turn_until, with_limits, worker
from tests.deploy.serve.fake_model import MODEL, RESULT, FakeModel

KINDS = ("first", "second")
POINTS = (
    "seen",
    "fetch: file",
    "fetched",
    "infer: begin",
    "infer: results",
    "inferred",
    "store: sent",
    "store: confirmed",
    "stored",
)


def run_and_die(config, dies_at, number, counter=None):
    """Runs a worker in a process that kills itself where `dies_at(point)` is true; returns the exit code.

    It ends with 0 when `number` images have their results. The archive may drop a connection now and then.
    """

    def reached(point):
        if dies_at(point):
            os.kill(os.getpid(), signal.SIGKILL)

    def work():
        with worker(config, FakeModel(KINDS, counter), reached=reached) as service:
            settle(service, number, 50.0)

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(60)
    assert process.exitcode is not None
    return process.exitcode


def expected(*numbers):
    return sorted(derived_uid(uid(number), kind, MODEL) for number in numbers for kind in KINDS)


def final_events(config):
    """Returns {SOP Instance UID: number of audit entries that say that its results were stored}."""
    lines = (config.folder / "audit.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    assert [entry["number"] for entry in entries] == sorted({entry["number"] for entry in entries})
    return Counter(entry["source"] for entry in entries if entry["event"] == "stored")


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_a_point(orthanc, tmp_path, point, monkeypatch):
    orthanc.send(write_chest(tmp_path / "images", 1))
    config, sent = config_for(orthanc, tmp_path / "worker"), []
    assert run_and_die(config, lambda reached: reached == point, 1) == -signal.SIGKILL
    before = orthanc.stored(RESULT)
    assert len(before) == (1 if point in ("store: sent", "store: confirmed") else 2 if point == "stored" else 0)

    store = DicomWebArchive.store
    monkeypatch.setattr(DicomWebArchive, "store", lambda self, item: (sent.append(item.uid), store(self, item)))
    with worker(config, FakeModel(KINDS)) as service:
        turn_until(service, lambda: service.state.counts()["stored"] == 1)
        assert service.spool.used_bytes() == 0
    assert sorted(orthanc.stored(RESULT)) == expected(1)
    assert set(sent) == set(expected(1)) - set(before)  # what was stored before the kill is not sent again
    assert final_events(config) == {uid(1): 1}


def test_killed_again_and_again(orthanc, tmp_path):
    numbers, counter = range(1, 5), tmp_path / "inferences"
    for number in numbers:
        orthanc.send(write_chest(tmp_path / "images", number))
    config, codes = config_for(orthanc, tmp_path / "worker"), []
    while not codes or codes[-1] != 0:
        left = iter(range(len(codes) % 7 + 2))
        codes.append(run_and_die(config, lambda _, left=left: next(left, None) is None, 4, counter))
        assert len(codes) < 60
    assert codes.count(-signal.SIGKILL) >= 4
    assert sorted(orthanc.stored(RESULT)) == expected(*numbers)
    assert final_events(config) == dict.fromkeys(map(uid, numbers), 1)


def test_an_image_that_kills_the_process_is_given_up_and_the_others_are_processed(orthanc, tmp_path):
    for number in (1, 2):
        orthanc.send(write_chest(tmp_path / "images", number))
    config = with_limits(config_for(orthanc, tmp_path / "worker"), max_attempts=2)

    def crash(image):
        if image.SOPInstanceUID == uid(1):
            os.kill(os.getpid(), signal.SIGKILL)

    def work():
        with worker(config, FakeModel(KINDS, before=crash)) as service:
            settle(service, number, 50.0)

    for _ in range(2):
        process = multiprocessing.get_context("fork").Process(target=work)
        process.start()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
    with worker(config, FakeModel(KINDS, before=crash)) as service:
        settle(service, 2)
        assert service.state.counts()["failed"] == 1
    assert sorted(orthanc.stored(RESULT)) == expected(2)
    assert "the process ended during each of 2 attempts" in (config.folder / "audit.jsonl").read_text()
    with worker(config, infer := FakeModel(KINDS), retry_failed=True) as service:
        turn_until(service, lambda: service.state.counts()["stored"] == 2)
    assert infer.images == [uid(1)]
    assert sorted(orthanc.stored(RESULT)) == expected(1, 2)
