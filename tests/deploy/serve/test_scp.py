"""The worker's DICOM port, and results that are sent by C-STORE."""

from __future__ import annotations

import pydicom
import pynetdicom
import pytest

from mtmedformer_monai.deploy.headers.uids import derived_uid
from mtmedformer_monai.deploy.serve.config import ReceiverConfig, StoreConfig
from mtmedformer_monai.deploy.serve.service import Model, open_service
from tests.deploy.serve.chest_images import uid, write_chest
from tests.deploy.serve.conftest import config_for, settle, turn_until, with_limits, worker
from tests.deploy.serve.fake_model import MODEL, RESULT, FakeModel

PORT = ReceiverConfig(enabled=True, port=0, ae_title="WORKER")


def send(service, *paths, calling="SENDER", change=lambda header: None):
    """Sends files to the worker; returns the statuses, or None if the association is rejected."""
    entity, statuses = pynetdicom.AE(ae_title=calling), []
    for sop_class in {pydicom.dcmread(path).SOPClassUID for path in paths}:
        entity.add_requested_context(sop_class)
    association = entity.associate("127.0.0.1", service.receiver_port, ae_title="WORKER")
    if not association.is_established:
        return None
    for path in paths:
        header = pydicom.dcmread(path)
        change(header)
        statuses.append(association.send_c_store(header).Status)
    association.release()
    return statuses


def test_received_images_are_inferred_and_stored_once(orthanc, tmp_path):
    config = config_for(orthanc, tmp_path / "worker", receiver=PORT)
    path = write_chest(tmp_path / "images", 1)
    with worker(config, infer := FakeModel()) as service:
        assert send(service, path, path) == [0x0000, 0x0000]
        settle(service, 1)
        assert send(service, path) == [0x0000]
        orthanc.send(path)  # the same image also arrives in the archive
        orthanc.send(write_chest(tmp_path / "images", 2))
        settle(service, 2)
    assert infer.images == [uid(1), uid(2)]
    assert sorted(orthanc.stored(RESULT)) == sorted(derived_uid(uid(number), "picture", MODEL) for number in (1, 2))


def test_an_acknowledged_image_survives_the_process(web_archive, tmp_path):
    config = config_for(web_archive, tmp_path / "worker", receiver=PORT)
    with worker(config) as service:
        assert send(service, write_chest(tmp_path / "images", 1)) == [0x0000]
        assert service.state.counts()["fetched"] == 1
    with worker(config) as service:
        settle(service, 1)
    assert derived_uid(uid(1), "picture", MODEL) in web_archive.objects


def test_a_failed_image_that_is_sent_again_is_processed(web_archive, tmp_path):
    """As its reason asks for: its files were no longer in the spool."""
    config = with_limits(config_for(web_archive, tmp_path / "worker", receiver=PORT), max_attempts=1)
    path, wrong = write_chest(tmp_path / "images", 1), [ValueError("an error of the network")]

    def fail_once(image):
        if wrong:
            raise wrong.pop()

    with worker(config, infer := FakeModel(before=fail_once)) as service:
        assert send(service, path) == [0x0000]
        turn_until(service, lambda: service.state.counts()["failed"] == 1)
        service.spool.clear(next(service.state.unfinished()))
        assert send(service, path) == [0x0000]
        turn_until(service, lambda: service.state.counts()["stored"] == 1)
        assert send(service, path) == [0x0000]
        assert service.state.counts()["stored"] == 1
    assert infer.images == [uid(1), uid(1)]  # the first attempt failed


def test_a_file_that_is_sent_again_is_judged_by_the_rules_as_well(web_archive, tmp_path):
    config = with_limits(config_for(web_archive, tmp_path / "worker", receiver=PORT), max_attempts=1)

    def fail(image):
        raise ValueError("an error of the network")

    with worker(config, infer := FakeModel(before=fail)) as service:
        assert send(service, write_chest(tmp_path / "images", 1)) == [0x0000]
        turn_until(service, lambda: service.state.counts()["failed"] == 1)
        assert send(service, write_chest(tmp_path / "others", 1, ViewPosition="LL")) == [0x0000]
        assert service.state.counts()["failed"] == 1
    assert infer.images == [uid(1)]


def test_a_refused_image_that_is_corrected_and_sent_again_is_processed(web_archive, tmp_path):
    config = config_for(web_archive, tmp_path / "worker", receiver=PORT)
    lateral = write_chest(tmp_path / "lateral", 1, ViewPosition="LL")
    with worker(config, infer := FakeModel()) as service:
        assert send(service, lateral, lateral) == [0x0000, 0x0000]
        assert service.state.counts()["refused"] == 1
        assert send(service, write_chest(tmp_path / "images", 1)) == [0x0000]
        settle(service, 1)
        assert service.state.counts()["stored"] == 1
    assert infer.images == [uid(1)]


@pytest.mark.parametrize("answer", [None, 404], ids=["fetched", "gone"])
@pytest.mark.parametrize("moment", ["before the fetch", "during the fetch"])
def test_an_image_that_is_seen_in_the_archive_is_kept_when_it_is_received(web_archive, tmp_path, moment, answer):
    config = config_for(web_archive, tmp_path / "worker", receiver=PORT)
    path = write_chest(tmp_path / "images", 1)
    web_archive.add(path.read_bytes())
    statuses = []
    with worker(config, infer := FakeModel()) as service:

        def fail(method, asked):
            if "/series/" not in asked:
                return None
            if moment == "during the fetch" and not statuses:
                statuses.extend(send(service, path))
            return answer if statuses else 503

        web_archive.fail = fail
        if moment == "before the fetch":
            turn_until(service, lambda: "archive" in service.health.problems)
            assert service.state.counts()["seen"] == 1
            statuses.extend(send(service, path))
            assert service.state.counts()["fetched"] == 1
        settle(service, 1)
        assert service.state.counts()["stored"] == 1
        assert service.spool.used_bytes() == 0
    assert (statuses, infer.images) == ([0x0000], [uid(1)])


def test_failed_cases_of_another_model_are_tried_by_the_new_one(web_archive, tmp_path):
    config = with_limits(config_for(web_archive, tmp_path / "worker", receiver=PORT), max_attempts=1)

    def fail(image):
        raise ValueError("an error of the network")

    with worker(config, FakeModel(before=fail)) as service:
        assert send(service, write_chest(tmp_path / "images", 1)) == [0x0000]
        turn_until(service, lambda: service.state.counts()["failed"] == 1)
    other = "cd" * 32
    with open_service(config, Model(FakeModel(model=other), other), retry_failed=True) as service:
        settle(service, 1)
    assert derived_uid(uid(1), "picture", other) in web_archive.objects
    assert derived_uid(uid(1), "picture", MODEL) not in web_archive.objects


def test_a_full_spool_is_answered_with_out_of_resources(web_archive, tmp_path):
    config = with_limits(config_for(web_archive, tmp_path / "worker", receiver=PORT), spool_mb=1)
    paths = [write_chest(tmp_path / "images", number, rows=800) for number in (1, 2, 3)]  # 1.28 MB each
    with worker(config) as service:
        assert send(service, *paths) == [0x0000, 0xA700, 0xA700]
        settle(service, 1)
        assert send(service, *paths[1:]) == [0x0000, 0xA700]


def test_other_images_are_refused_with_a_reason_and_damaged_ones_not_understood(web_archive, tmp_path):
    config = config_for(web_archive, tmp_path / "worker", receiver=PORT)
    with worker(config) as service:
        assert send(service, write_chest(tmp_path / "images", 1, ViewPosition="LL")) == [0x0000]
        assert send(service, write_chest(tmp_path / "images", 2), change=lambda h: delattr(h, "StudyInstanceUID")) == [
            0xC000
        ]
        service.flush_audit()
        assert service.state.counts()["refused"] == 1
        assert service.spool.used_bytes() == 0
    assert '"rule": "lateral"' in (config.folder / "audit.jsonl").read_text()


def test_only_listed_callers_may_send(web_archive, tmp_path):
    port = ReceiverConfig(enabled=True, port=0, ae_title="WORKER", callers=("SENDER",))
    with worker(config_for(web_archive, tmp_path / "worker", receiver=port)) as service:
        path = write_chest(tmp_path / "images", 1)
        assert send(service, path, calling="STRANGER") is None
        assert send(service, path) == [0x0000]


def test_failed_images_that_were_received_are_kept(web_archive, tmp_path):
    config = with_limits(config_for(web_archive, tmp_path / "worker", receiver=PORT), max_attempts=1)

    def fail(image):
        raise RuntimeError

    with worker(config, FakeModel(before=fail)) as service:
        send(service, write_chest(tmp_path / "images", 1))
        settle(service, 1)
        assert service.state.counts()["failed"] == 1
    with worker(config) as service:  # without being told to retry, the file is still there after a restart
        assert service.spool.used_bytes() > 0
    with worker(config, retry_failed=True) as service:
        turn_until(service, lambda: service.state.counts()["stored"] == 1)


def test_results_are_sent_by_c_store(orthanc, tmp_path):
    orthanc.send(write_chest(tmp_path / "images", 1))
    store = StoreConfig(by="cstore", port=orthanc.dicom_port, called_ae="ORTHANC")
    with worker(config_for(orthanc, tmp_path / "worker", store=store)) as service:
        settle(service, 1)
    assert orthanc.stored(RESULT) == [derived_uid(uid(1), "picture", MODEL)]


def test_a_receiver_of_results_that_is_away_is_waited_for(orthanc, tmp_path):
    store = StoreConfig(by="cstore", port=1)
    config = config_for(orthanc, tmp_path / "worker", store=store)
    orthanc.send(write_chest(tmp_path / "images", 1))
    with worker(config) as service:
        turn_until(service, lambda: "archive" in service.health.problems)
        assert service.state.counts()["inferred"] == 1
    with worker(config_for(orthanc, tmp_path / "worker"), infer := FakeModel()) as service:
        turn_until(service, lambda: service.state.counts()["stored"] == 1)
    assert infer.images == []


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
@pytest.mark.parametrize("path", ["1.2/../../../escape", "1.2"])
def test_hostile_uids_cannot_name_paths(web_archive, tmp_path, path):
    config = config_for(web_archive, tmp_path / "worker", receiver=PORT)
    with worker(config) as service:
        change = {"1.2": "9.9"}.get(path, path)  # the second differs from the UID in the request

        def rename(header):
            header.SeriesInstanceUID = change

        expected = 0xC000 if "/" in change else 0x0000
        assert send(service, write_chest(tmp_path / "images", 1), change=rename) == [expected]
    assert not list(tmp_path.rglob("*escape*"))
