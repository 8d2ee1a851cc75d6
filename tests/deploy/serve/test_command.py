"""The command line, configuration, health, metrics, audit log, TLS, and a load of many images."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
import types
from dataclasses import replace
from pathlib import Path

import pytest
import requests
import yaml

from mtmedformer_monai.cli.main import main
from mtmedformer_monai.deploy.serve.archive import DicomWebArchive
from mtmedformer_monai.deploy.serve.audit import AuditFile, AuditNames
from mtmedformer_monai.deploy.serve.bundle_model import write_rules
from mtmedformer_monai.deploy.serve.config import AuditConfig, AuthConfig, RulesConfig, TlsConfig, load_config
from mtmedformer_monai.deploy.serve.errors import ArchiveUnavailableError
from mtmedformer_monai.deploy.serve.multipart import decode_part, encode_file
from mtmedformer_monai.deploy.serve.service import Model
from mtmedformer_monai.deploy.serve.state import StateStore
from tests.deploy.serve.chest_images import NAME, PATIENT, uid, write_chest
from tests.deploy.serve.conftest import CHEST, SECRET, config_for, settle, turn_until, with_limits, worker
from tests.deploy.serve.fake_model import MODEL, FakeModel
from tests.deploy.serve.orthanc import PASSWORD, USER, free_ports
from tests.deploy.serve.web_archive import WebArchive


@pytest.fixture
def write_config(tmp_path):
    """Writes serve.yaml for an archive; keywords replace its sections."""

    def write(address, **sections):
        auth = {"kind": "basic", "username": USER, "secret_env": SECRET}
        watched = {
            "url": f"{address}/dicom-web",
            "feed": "qido",
            "start": "beginning",
            "poll_seconds": 0.1,
            "auth": auth,
        }
        content = {
            "bundle": str(CHEST), "folder": "worker", "archive": watched, "health": {"port": 0},
            "limits": {"min_free_mb": 1}, **sections,
        }  # fmt: skip
        (tmp_path / "serve.yaml").write_text(yaml.safe_dump(content))
        return tmp_path / "serve.yaml"

    return write


def test_check_asks_the_archive_and_processes_nothing(web_archive, write_config, tmp_path, caplog):
    caplog.set_level("INFO")
    path = write_config(web_archive.url)
    assert main(["serve", "--config", str(path), "--check"]) == 0
    assert "the archive answers" in caplog.text
    assert "lateral='refuse'" in caplog.text
    assert not (tmp_path / "worker").exists()
    web_archive.fail = lambda method, path: 401
    assert main(["serve", "--config", str(path), "--check"]) == 1
    assert "HTTP 401" in caplog.text
    assert PASSWORD not in caplog.text


@pytest.mark.parametrize("slow", [False, True], ids=["idle", "within a case"])
def test_sigterm_completes_the_step_and_stops(web_archive, write_config, tmp_path, monkeypatch, slow):
    web_archive.add(write_chest(tmp_path / "images", 1).read_bytes())
    (port,) = free_ports(1)
    path, began = write_config(web_archive.url, health={"port": port}), tmp_path / "began"

    def before(image):
        began.touch()
        time.sleep(0.5 if slow else 0.0)

    fake = types.SimpleNamespace(load_model=lambda config, trust=False: Model(FakeModel(before=before), MODEL))
    monkeypatch.setitem(sys.modules, "mtmedformer_monai.deploy.serve.bundle_model", fake)
    process = multiprocessing.get_context("fork").Process(
        target=lambda: os._exit(main(["serve", "--config", str(path)]))
    )
    process.start()

    def is_reached():
        if slow:
            return began.exists()
        try:
            return requests.get(f"http://127.0.0.1:{port}/health", timeout=10).json()["cases"]["stored"] == 1
        except requests.ConnectionError:
            return False

    until = time.monotonic() + 30
    while not is_reached():
        assert time.monotonic() < until
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGTERM)
    process.join(30)
    assert process.exitcode == 0
    events = [json.loads(line)["event"] for line in (tmp_path / "worker" / "audit.jsonl").read_text().splitlines()]
    assert events[-1] == "stopped"
    assert ("inferred" if slow else "stored") in events  # the step was not torn


def test_health_and_metrics(web_archive, tmp_path):
    for number, view in ((1, "PA"), (2, "LL"), (3, "LL")):
        web_archive.add(write_chest(tmp_path / "images", number, ViewPosition=view).read_bytes())
    with worker(config_for(web_archive, tmp_path / "worker")) as service:
        settle(service, 3)
        address = f"http://127.0.0.1:{service.health_port}"
        health = requests.get(f"{address}/health", timeout=10)
        assert health.status_code == 200
        assert (health.json()["status"], health.json()["cases"]["refused"]) == ("ok", 2)
        text = requests.get(f"{address}/metrics", timeout=10).text
        for line in (
            'mtmedformer_cases{state="stored"} 1.0',
            'mtmedformer_refused_total{rule="lateral"} 2.0',
            'mtmedformer_steps_total{outcome="done",step="store"} 1.0',
            "mtmedformer_spool_bytes 0.0",
            "mtmedformer_up 1.0",
        ):
            assert line in text.splitlines()
        web_archive.fail = lambda method, path: 503
        turn_until(service, lambda: service.health.problems)
        health = requests.get(f"{address}/health", timeout=10)
        assert (health.status_code, health.json()["status"]) == (503, "degraded")
        assert 'mtmedformer_problem{problem="archive"} 1.0' in requests.get(f"{address}/metrics", timeout=10).text


def test_the_audit_log_names_no_patient_and_hashes_uids(web_archive, tmp_path, monkeypatch):
    monkeypatch.setenv("AUDIT_KEY", "a key")
    web_archive.add(write_chest(tmp_path / "images", 1).read_bytes())
    audit = AuditConfig(hash_uids=True, key_env="AUDIT_KEY")
    with worker(config_for(web_archive, tmp_path / "worker", audit=audit)) as service:
        settle(service, 1)
    text = (tmp_path / "worker" / "audit.jsonl").read_text()
    events = [json.loads(line) for line in text.splitlines()]
    assert [each["event"] for each in events] == ["started", "seen", "fetched", "inferred", "stored", "stopped"]
    assert [each["number"] for each in events] == [1, 2, 3, 4, 5, 6]
    # echo -n 1.2.826.0.1.3680043.8.498.77.1.1 | openssl dgst -sha256 -hmac "a key"
    command = ["openssl", "dgst", "-sha256", "-hmac", "a key"]
    digest = subprocess.run(command, input=uid(1), capture_output=True, text=True, check=True).stdout.split()[-1]
    assert {each["source"] for each in events[1:5]} == {digest[:32]}
    assert not [word for word in (*NAME.split("^"), PATIENT, "1.2.826", "19500101") if word in text]


def test_audit_lines_are_neither_repeated_nor_joined_to_a_torn_one(tmp_path):
    path = tmp_path / "audit.jsonl"
    lines = [(number, json.dumps({"event": str(number)})) for number in (1, 2, 3)]
    AuditFile(path, "one").append(lines[:2])
    with path.open("a") as file:
        file.write('{"number": 3, "ev')  # the disk was full
    AuditFile(path, "one").append(lines)
    whole = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
    assert [each["number"] for each in whole] == [1, 2, 3]


def test_audit_entries_of_a_new_database_are_not_taken_for_those_of_the_one_before(tmp_path):
    path = tmp_path / "audit.jsonl"
    path.write_text('{"number": 9, "event": "of an earlier version"}\n')
    for name in ("first", "second"):
        state = StateStore(tmp_path / name, AuditNames())
        state.note(name)
        AuditFile(path, state.name).append(state.queued_events())
        AuditFile(path, state.name).append(state.queued_events())  # as after a crash, before they are dropped
        state.close()
    events = [json.loads(line)["event"] for line in path.read_text().splitlines()]
    assert events == ["of an earlier version", "first", "second"]


def test_a_new_folder_is_private(web_archive, tmp_path):
    """Whichever comes first: the rules, if some are changed, or the state."""
    write_rules(changed := config_for(web_archive, tmp_path / "changed", rules=RulesConfig(modalities=("DX",))))
    with worker(plain := config_for(web_archive, tmp_path / "plain")):
        modes = [config.folder.stat().st_mode & 0o777 for config in (changed, plain)]
    assert modes == [0o700, 0o700]


def test_only_one_worker_uses_a_folder(web_archive, tmp_path):
    config = config_for(web_archive, tmp_path / "worker")
    with worker(config), pytest.raises(OSError, match="used by another worker"), worker(config):
        pass


def test_a_new_model_takes_over_images_that_wait(web_archive, tmp_path):
    web_archive.add(write_chest(tmp_path / "images", 1).read_bytes())
    config = config_for(web_archive, tmp_path / "worker")
    with worker(config) as service:
        turn_until(service, lambda: service.state.counts()["fetched"] == 1)
    with worker(config, infer := FakeModel(model="cd" * 32), "cd" * 32) as service:
        settle(service, 1)
        assert sum(service.state.counts().values()) == 1
    assert infer.images == [uid(1)]


def test_many_images_use_no_more_than_the_spool_and_little_memory(web_archive, tmp_path):
    for number in range(30):
        web_archive.add(write_chest(tmp_path / "images", number, rows=256).read_bytes())  # 0.13 MB each, 4 MB in all
    config = with_limits(config_for(web_archive, tmp_path / "worker"), spool_mb=1)
    config = with_limits(config, max_attempts=1000, retry_seconds=2.0, max_retry_seconds=2.0)
    config = replace(config, archive=replace(config.archive, poll_seconds=60.0))
    sizes = []

    def is_full():
        sizes.append(service.spool.used_bytes())
        return "disk" in service.health.problems

    def is_done():
        sizes.append(service.spool.used_bytes())
        return service.state.counts()["stored"] == 30

    with worker(config, infer := FakeModel()) as service:
        turn_until(service, lambda: service.state.counts()["stored"] == 1)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        web_archive.fail = lambda method, path: 500 if method == "POST" else None  # results pile up
        turn_until(service, is_full)
        web_archive.fail = lambda method, path: None
        turn_until(service, is_done, 60)
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert sorted(infer.images) == sorted(map(uid, range(30)))
    assert max(sizes) < 2**20 + 2 * 2**18  # the limit, and the image and result that were under way
    assert grown_kb < 60 * 1024


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """An authority that signs itself, for 127.0.0.1: {name: path of key, certificate}."""
    folder = tmp_path_factory.mktemp("tls")
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={0} -keyout {0}.key "
        "-out {0}.crt -addext subjectAltName=IP:127.0.0.1"
    )
    for name in ("server", "client"):
        subprocess.run(command.format(name).split(), cwd=folder, check=True, capture_output=True)
    return folder


def test_tls_with_certificates_of_both_sides(certificates, tmp_path):
    server = (certificates / "server.crt", certificates / "server.key")
    archive = WebArchive(server, certificates / "client.crt")
    try:
        config = config_for(archive, tmp_path / "worker").archive
        known = TlsConfig(server[0], certificates / "client.crt", certificates / "client.key")
        assert DicomWebArchive(replace(config, tls=known)).search({"limit": 1}) == []
        for wrong in (TlsConfig(server[0]), TlsConfig()):  # no certificate of its own; an authority that is not known
            with pytest.raises(ArchiveUnavailableError):
                DicomWebArchive(replace(config, tls=wrong)).search({"limit": 1})
    finally:
        archive.close()


@pytest.mark.parametrize(
    ("auth", "header"),
    [
        (AuthConfig("none"), None),
        (AuthConfig("basic", "me", secret_env=SECRET), "Basic bWU6Y29ycmVjdCBob3JzZQ=="),  # base64 of me:correct horse
        (AuthConfig("bearer", secret_env=SECRET), "Bearer correct horse"),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_authentication(web_archive, tmp_path, auth, header):
    config = replace(config_for(web_archive, tmp_path).archive, auth=auth)
    DicomWebArchive(config).search({"limit": 1})
    assert web_archive.requests[-1][2].get("Authorization") == header


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"archve": {}}, "archve is unknown; did you mean archive"),
        ({"archive": {"url": "http://h/dicom-web", "auth": {"password": "x"}}}, "secrets are not written in this file"),
        ({"archive": {"url": "http://me:x@h/dicom-web"}}, "use archive.auth instead"),
        ({"archive": {"url": "ftp://h"}}, "archive.url expects http://"),
        (
            {"archive": {"url": "http://h", "feed": "poll"}},
            "archive.feed expects one of orthanc, qido, none; got 'poll'",
        ),
        ({"archive": {"url": "http://h", "page": "many"}}, "archive.page expects int"),
        ({"archive": {"url": "http://h", "auth": {"kind": "basic"}}}, "either secret_env or secret_file"),
        ({"archive": {"feed": "none"}}, "no source of images"),
        ({"archive": {}}, "archive.url is missing"),
        ({"limits": {"max_attempts": 0}}, "limits.max_attempts expects a positive number, got 0"),
        ({"rules": {"modalities": "DX"}}, "rules.modalities expects a list of texts"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_errors_in_the_configuration_name_the_key_and_no_secret(write_config, sections, message, caplog):
    assert main(["serve", "--config", str(write_config("http://127.0.0.1:1", **sections)), "--check"]) == 2
    assert message in caplog.text
    assert "me:x" not in caplog.text


def test_a_missing_secret_names_its_variable(web_archive, write_config, monkeypatch, caplog):
    monkeypatch.delenv(SECRET)
    assert main(["serve", "--config", str(write_config(web_archive.url)), "--check"]) == 2
    assert SECRET in caplog.text


@pytest.mark.parametrize("size", [1, 5, 10**6], ids=["bytes", "small blocks", "one block"])
def test_multipart_survives_any_division_into_blocks(tmp_path, size):
    content = b"\0\r\n--\r\n\r\nDICM" * 50 + b"\r\n"
    (tmp_path / "a.dcm").write_bytes(content)
    kind, blocks = encode_file(tmp_path / "a.dcm")
    body = b"".join(blocks)
    parts = (body[start : start + size] for start in range(0, len(body), size))
    assert b"".join(decode_part(parts, kind)) == content
    with pytest.raises(ValueError, match="truncated"):
        b"".join(decode_part([body[:-30]], kind))
    boundary = kind.rpartition("=")[2].encode()
    again = body.removesuffix(b"--\r\n") + b"\r\n\r\nmore\r\n--" + boundary + b"--"
    with pytest.raises(ValueError, match="got several"):
        b"".join(decode_part([again], kind))


def test_paths_in_the_configuration_are_relative_to_its_folder(write_config):
    path = write_config("http://127.0.0.1:1")
    assert load_config(path).folder == Path(path).parent / "worker"


@pytest.mark.parametrize("preamble", [b"\r\n\r\n", b"An archive.\r\n\r\nImages follow.\r\n"])
def test_a_preamble_of_a_multipart_answer_is_not_content(preamble):
    body = preamble + b"--b\r\nContent-Type: application/dicom\r\n\r\nDICOM\r\n--b--\r\n"
    kind = 'multipart/related; type="application/dicom"; boundary=b'
    for size in (1, len(body)):
        assert b"".join(decode_part([body[i : i + size] for i in range(0, len(body), size)], kind)) == b"DICOM"
