"""The worker with a real Orthanc: images come from the archive, and results appear in it, exactly once."""

from __future__ import annotations

import time
from io import BytesIO

import pydicom
import pytest

from mtmedformer_monai.deploy.uids import derived_uid
from tests.deploy.serve.chest_images import uid, write_chest
from tests.deploy.serve.conftest import config_for, settle, turn_until, worker
from tests.deploy.serve.fake_model import MODEL, RESULT, FakeModel
from tests.deploy.serve.orthanc import Orthanc


def test_results_appear_in_the_archive_with_references_to_their_images(orthanc, tmp_path):
    for number in (1, 2, 3):
        orthanc.send(write_chest(tmp_path / "images", number))
    with worker(config_for(orthanc, tmp_path / "worker")) as service:
        settle(service, 3)
        assert service.state.counts()["stored"] == 3
    stored = orthanc.stored(RESULT)
    assert sorted(stored) == sorted(derived_uid(uid(number), "picture", MODEL) for number in (1, 2, 3))
    for each in stored:
        result = pydicom.dcmread(BytesIO(orthanc.file(each)))
        source = result.SourceImageSequence[0].ReferencedSOPInstanceUID
        assert each == derived_uid(source, "picture", MODEL)
        assert source[:-1] + "3" == result.StudyInstanceUID  # the archive shows it in the study of the image


def test_results_are_not_taken_for_new_images(orthanc, tmp_path):
    orthanc.send(write_chest(tmp_path / "images", 1))
    with worker(config_for(orthanc, tmp_path / "worker"), infer := FakeModel()) as service:
        settle(service, 1)
        seen = orthanc.get("/changes", last="")["Last"]
        turn_until(service, lambda: service.state.mark("orthanc changes") == str(seen))
        assert sum(service.state.counts().values()) == 1
    assert infer.images == [uid(1)]


def test_an_archive_that_is_away_is_waited_for(tmp_path):
    archive = Orthanc(tmp_path / "orthanc").start()
    try:
        archive.send(write_chest(tmp_path / "images", 1))
        with worker(config_for(archive, tmp_path / "worker"), infer := FakeModel()) as service:
            turn_until(service, lambda: service.state.counts()["inferred"] == 1)
            archive.stop()
            turn_until(service, lambda: "archive" in service.health.problems)
            for _ in range(20):
                service.worker.turn()
            assert service.state.counts()["inferred"] == 1
            assert service.health.status == "degraded"
            archive.start()
            archive.send(write_chest(tmp_path / "images", 2))
            settle(service, 2)
            assert service.state.counts()["stored"] == 2
            assert service.health.status == "ok"
        assert len(archive.stored(RESULT)) == 2
        assert infer.images == [uid(1), uid(2)]
    finally:
        archive.kill()


def test_wrong_credentials_are_named_and_cost_no_attempt(orthanc, tmp_path, monkeypatch):
    orthanc.send(write_chest(tmp_path / "images", 1))
    config = config_for(orthanc, tmp_path / "worker")
    monkeypatch.setenv("MTMEDFORMER_TEST_SECRET", "wrong")
    with worker(config) as service:
        turn_until(service, lambda: "archive" in service.health.problems)
        assert "HTTP 401" in service.health.problems["archive"]
        assert "archive.auth" in service.health.problems["archive"]
    monkeypatch.undo()
    monkeypatch.setenv("MTMEDFORMER_TEST_SECRET", "correct horse")
    with worker(config) as service:
        settle(service, 1)
        assert service.state.counts()["stored"] == 1


@pytest.mark.parametrize("start", ["now", "beginning"])
def test_the_start_decides_about_images_that_are_there_already(orthanc, tmp_path, start):
    orthanc.send(write_chest(tmp_path / "images", 1))
    config = config_for(orthanc, tmp_path / "worker")
    object.__setattr__(config.archive, "start", start)
    with worker(config, infer := FakeModel()) as service:
        turn_until(service, lambda: service.state.mark("orthanc changes") is not None)
        orthanc.send(write_chest(tmp_path / "images", 2))
        settle(service, {"now": 1, "beginning": 2}[start])
    assert infer.images == {"now": [uid(2)], "beginning": [uid(1), uid(2)]}[start]


def test_a_worker_that_has_lost_its_disk_stores_nothing_twice(orthanc, tmp_path):
    orthanc.send(write_chest(tmp_path / "images", 1))
    for folder in ("first", "second"):
        with worker(config_for(orthanc, tmp_path / folder)) as service:
            turn_until(service, lambda: service.state.counts()["stored"] == 1)
    assert orthanc.stored(RESULT) == [derived_uid(uid(1), "picture", MODEL)]


def test_another_model_adds_its_own_result_from_the_beginning(orthanc, tmp_path):
    orthanc.send(write_chest(tmp_path / "images", 1))
    config, other = config_for(orthanc, tmp_path / "worker"), "cd" * 32
    with worker(config) as service:
        settle(service, 1)
    with worker(config, FakeModel(model=other), other, from_beginning=True) as service:
        settle(service, 2)
    assert sorted(orthanc.stored(RESULT)) == sorted(derived_uid(uid(1), "picture", each) for each in (MODEL, other))


def test_a_search_finds_images_without_a_change_log(orthanc, tmp_path):
    for number in (1, 2, 3):
        orthanc.send(write_chest(tmp_path / "images", number))
    orthanc.send(write_chest(tmp_path / "images", 4, modality="CR"))
    config = config_for(orthanc, tmp_path / "worker")
    object.__setattr__(config.archive, "feed", "qido")
    object.__setattr__(config.archive, "page", 2)
    with worker(config) as service:
        settle(service, 4)
        orthanc.send(write_chest(tmp_path / "images", 5, StudyDate="20991231"))
        settle(service, 5)
        assert service.state.counts()["stored"] == 5
    assert len(orthanc.stored(RESULT)) == 5


def test_a_rebuilt_archive_is_read_from_its_beginning(orthanc, tmp_path):
    config = config_for(orthanc, tmp_path / "worker")
    with worker(config) as service:
        service.state.set_mark("orthanc changes", "1000000")  # as of an archive with a longer history
        orthanc.send(write_chest(tmp_path / "images", 1))
        settle(service, 1)
        assert service.state.counts()["stored"] == 1


def test_a_rebuilt_archive_with_a_longer_log_is_read_from_its_beginning(orthanc, tmp_path):
    config = config_for(orthanc, tmp_path / "worker")
    with worker(config) as service:
        orthanc.send(write_chest(tmp_path / "images", 1))
        read = orthanc.get("/changes", last="")["Last"]
        service.state.set_mark("orthanc changes", str(read))  # as of the log of an archive that was there before 2000
        service.state.set_mark("date of orthanc changes", "19991231T235959")
        orthanc.send(write_chest(tmp_path / "images", 2))
        settle(service, 2)
        assert service.state.counts()["stored"] == 2


def test_a_log_that_goes_on_is_not_read_again(orthanc, tmp_path):
    config = config_for(orthanc, tmp_path / "worker")
    orthanc.send(write_chest(tmp_path / "images", 1))
    with worker(config) as service:
        settle(service, 1)
    read = []
    with worker(config) as service:
        ask = service.worker._feed._archive.orthanc
        service.worker._feed._archive.orthanc = lambda path, **query: (read.append((path, query)), ask(path, **query))[
            1
        ]
        orthanc.send(write_chest(tmp_path / "images", 2))
        settle(service, 2)
    positions = [query["since"] for path, query in read if path == "/changes" and query.get("limit") == 100]
    assert min(positions) > 0


@pytest.mark.parametrize("start", ["now", "beginning"])
def test_a_log_that_is_cleared_before_it_is_read_loses_no_image(orthanc, tmp_path, start):
    for number in (1, 5):
        orthanc.send(write_chest(tmp_path / "images", number))
        time.sleep(1.1)  # the archive's clock of changes counts seconds
    config, infer = config_for(orthanc, tmp_path / "worker"), FakeModel()
    object.__setattr__(config.archive, "start", start)
    with worker(config, infer) as service:
        turn_until(service, lambda: service.state.mark("orthanc changes") not in (None, "0"))
    for number in (2, 3):
        orthanc.send(write_chest(tmp_path / "images", number))
    orthanc.clear_log()
    with worker(config, infer) as service:
        orthanc.send(write_chest(tmp_path / "images", 4))
        turn_until(service, lambda: {uid(2), uid(3), uid(4)} <= set(infer.images))
        turn_until(service, lambda: service.state.counts()["stored"] == len(infer.images))
    assert (uid(1) in infer.images) == (start == "beginning")
    assert len(infer.images) == len(set(infer.images))
