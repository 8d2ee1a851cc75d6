"""What the worker does about each kind of failure: wait for the archive or the disk, repeat, refuse, or give up."""

from __future__ import annotations

import errno
import json
import sqlite3

import pytest

from mtmedformer_monai.deploy.headers.uids import derived_uid
from mtmedformer_monai.deploy.serve.errors import ImageRefusedError
from mtmedformer_monai.transforms.errors import BrokenPixelDataError
from tests.deploy.serve.chest_images import NAME, PATIENT, uid, write_chest
from tests.deploy.serve.conftest import config_for, settle, turn_until, with_limits, worker
from tests.deploy.serve.fake_model import MODEL, FakeModel

RESULT_1 = derived_uid(uid(1), "picture", MODEL)


@pytest.fixture
def image(web_archive, tmp_path):
    """Puts image 1 into the archive."""
    return web_archive.add(write_chest(tmp_path / "images", 1).read_bytes())


def audit(config):
    return [json.loads(line) for line in (config.folder / "audit.jsonl").read_text().splitlines()]


def failing(times, failure, method, part=""):
    """Fails the first requests of a kind."""
    left = [failure] * times

    def fail(asked, path):
        return left.pop() if asked == method and part in path and left else None

    return fail


@pytest.mark.usefixtures("image")
@pytest.mark.parametrize("failure", ["drop", 503, 500], ids=str)
@pytest.mark.parametrize("request_kind", [("GET", "?"), ("GET", "/series/"), ("POST", "")], ids=["find", "get", "put"])
def test_requests_that_fail_are_repeated(web_archive, tmp_path, failure, request_kind):
    web_archive.fail = failing(3, failure, *request_kind)
    with worker(config_for(web_archive, tmp_path / "worker"), infer := FakeModel()) as service:
        turn_until(service, lambda: service.state.counts()["stored"] == 1)
        turn_until(service, lambda: service.health.status == "ok")
    assert RESULT_1 in web_archive.objects
    assert infer.images == [uid(1)]


@pytest.mark.usefixtures("image")
def test_a_store_whose_answer_got_lost_is_not_repeated(web_archive, tmp_path):
    web_archive.fail = failing(1, "store and drop", "POST")
    with worker(config_for(web_archive, tmp_path / "worker")) as service:
        turn_until(service, lambda: service.state.counts()["stored"] == 1)
    assert web_archive.count("POST") == 1


@pytest.mark.usefixtures("image")
@pytest.mark.parametrize(("reason", "state"), [(0xA700, "inferred"), (0xA900, "failed")], ids=["full", "refusing"])
def test_reasons_of_a_refused_store(web_archive, tmp_path, reason, state):
    """An archive that is out of resources (PS3.18 I.2.2, as in PS3.4 B.2.3) is waited for; other reasons are final."""
    answer = {"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [reason]}}]}}
    web_archive.fail = lambda method, path: answer if method == "POST" else None
    config = with_limits(config_for(web_archive, tmp_path / "worker"), max_attempts=3)
    with worker(config) as service:
        turn_until(service, lambda: web_archive.count("POST") >= 3)
        service.worker.turn()
        assert service.state.counts()[state] == 1
    web_archive.fail = lambda method, path: None
    with worker(config, retry_failed=True) as service:
        turn_until(service, lambda: service.state.counts()["stored"] == 1)
    assert RESULT_1 in web_archive.objects


@pytest.mark.usefixtures("image")
def test_an_image_that_was_deleted_is_refused(web_archive, tmp_path):
    web_archive.fail = lambda method, path: 404 if "/series/" in path else None
    with worker(config := config_for(web_archive, tmp_path / "worker")) as service:
        settle(service, 1)
    (entry,) = [entry for entry in audit(config) if entry["event"] == "refused"]
    assert entry["rule"] == "gone"


@pytest.mark.parametrize(
    ("error", "rule"),
    [
        (ImageRefusedError("out_of_distribution", "it is unlike the training images"), "out_of_distribution"),
        (BrokenPixelDataError("image.dcm", "its pixel data are damaged", "exclude it"), "BrokenPixelDataError"),
    ],
    ids=["by the model", "by the reader"],
)
@pytest.mark.usefixtures("image")
def test_images_that_inference_refuses_are_not_repeated(web_archive, tmp_path, error, rule):
    def refuse(folder):
        raise error

    with worker(config := config_for(web_archive, tmp_path / "worker"), refuse) as service:
        settle(service, 1)
        assert service.state.counts()["refused"] == 1
        assert service.spool.used_bytes() == 0
    assert [entry["rule"] for entry in audit(config) if entry["event"] == "refused"] == [rule]
    assert web_archive.count("POST") == 0


@pytest.mark.usefixtures("image")
def test_an_inference_that_fails_is_repeated_then_given_up_without_naming_the_patient(web_archive, tmp_path, caplog):
    attempts = []

    def fail(folder):
        attempts.append(folder)
        raise RuntimeError(f"cannot process {NAME} ({PATIENT})")

    config = with_limits(config_for(web_archive, tmp_path / "worker"), max_attempts=3)
    with worker(config, fail) as service:
        settle(service, 1)
        assert service.state.counts()["failed"] == 1
        assert service.spool.used_bytes() == 0  # the archive still has the image
    assert len(attempts) == 3
    events = [entry for entry in audit(config) if entry["event"] in ("retry", "failed")]
    assert [entry["event"] for entry in events] == ["retry", "retry", "failed"]
    assert events[-1]["reason"].startswith("RuntimeError in test_loop.py, line ")
    written = caplog.text + "".join(
        path.read_bytes().decode(errors="replace") for path in config.folder.rglob("*") if path.is_file()
    )
    assert PATIENT not in written
    assert "Doe" not in written


@pytest.mark.usefixtures("image")
def test_one_bad_image_does_not_hold_up_the_others(web_archive, tmp_path):
    web_archive.add(write_chest(tmp_path / "images", 2).read_bytes())

    def fail(image):
        if image.SOPInstanceUID == uid(1):
            raise RuntimeError

    config = with_limits(config_for(web_archive, tmp_path / "worker"), max_retry_seconds=600.0, retry_seconds=600.0)
    with worker(config, FakeModel(before=fail)) as service:
        turn_until(service, lambda: service.state.counts()["stored"] == 1)
        assert service.state.counts()["fetched"] == 1
        assert service.health.status == "ok"


@pytest.mark.usefixtures("image")
def test_a_full_disk_pauses_and_loses_nothing(web_archive, tmp_path):
    free = [10 * 2**20]
    config = config_for(web_archive, tmp_path / "worker")
    with worker(config, free_bytes=lambda folder: free[0]) as service:
        free[0] = 2**19  # below limits.min_free_mb, 1 MB
        turn_until(service, lambda: service.state.counts()["seen"] == 1)
        service.worker.turn()
        assert service.health.status == "paused"
        assert "min_free_mb" in service.health.problems["disk"]
        assert web_archive.count("GET", "/series/") == 0
        free[0] = 10 * 2**20
        settle(service, 1)
        assert service.health.status == "ok"
    assert RESULT_1 in web_archive.objects


@pytest.mark.usefixtures("image")
@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), sqlite3.OperationalError("database or disk is full")],
    ids=["files", "database"],
)
def test_a_disk_that_fills_up_within_a_step_costs_no_attempt(web_archive, tmp_path, error):
    failures = [error] * 5

    def fill(image):
        if failures:
            raise failures.pop()

    config = with_limits(config_for(web_archive, tmp_path / "worker"), max_attempts=2)
    with worker(config, FakeModel(before=fill)) as service:
        turn_until(service, lambda: service.health.status == "paused")
        settle(service, 1)
        assert service.state.counts()["stored"] == 1
        assert service.health.status == "ok"


@pytest.mark.usefixtures("image")
def test_results_of_another_study_are_not_stored(web_archive, tmp_path):
    def wrong(folder):
        (path,) = FakeModel()(folder)
        import pydicom

        result = pydicom.dcmread(path)
        result.StudyInstanceUID = uid(9)
        result.save_as(path)
        return [path]

    config = with_limits(config_for(web_archive, tmp_path / "worker"), max_attempts=2)
    with worker(config, wrong) as service:
        settle(service, 1)
        assert service.state.counts()["failed"] == 1
    assert web_archive.count("POST") == 0
    assert "StudyInstanceUID" in audit(config)[-2]["reason"]


@pytest.mark.usefixtures("image")
def test_a_spool_that_was_emptied_by_hand_is_filled_again(web_archive, tmp_path):
    web_archive.fail = lambda method, path: 503 if method == "POST" else None
    with worker(config_for(web_archive, tmp_path / "worker"), infer := FakeModel()) as service:
        turn_until(service, lambda: web_archive.count("POST") >= 1)
        for path in service.spool.folder(next(service.state.unfinished())).rglob("*.dcm"):
            path.unlink()
        web_archive.fail = lambda method, path: None
        turn_until(service, lambda: service.state.counts()["stored"] == 1)
    assert infer.images == [uid(1), uid(1)]
    assert web_archive.objects.keys() == {uid(1), RESULT_1}
