"""`mtmedformer serve` with a shipped bundle: the command line, real inference, a real archive, and SIGTERM."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
import requests
import yaml

from tests.deploy.serve.chest_images import NAME, PATIENT, uid, write_chest
from tests.deploy.serve.conftest import CHEST, SECRET
from tests.deploy.serve.orthanc import USER, free_ports

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"


@pytest.fixture
def command(orthanc, tmp_path):
    """Writes a configuration; returns the command and the port of /health."""
    (port,) = free_ports(1)
    auth = {"kind": "basic", "username": USER, "secret_env": SECRET}
    archive = {"url": f"{orthanc.url}/dicom-web", "start": "beginning", "poll_seconds": 0.1, "auth": auth}
    content = {
        "bundle": str(CHEST), "folder": "worker", "archive": archive, "health": {"port": port},
        "limits": {"min_free_mb": 1},
    }  # fmt: skip
    (tmp_path / "serve.yaml").write_text(yaml.safe_dump(content))
    return [sys.executable, "-m", "mtmedformer_monai.cli.main", "serve", "--config", str(tmp_path / "serve.yaml")], port


def test_check_asks_the_archive_and_processes_nothing(command, orthanc, tmp_path):
    done = subprocess.run([*command[0], "--check"], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "the archive answers" in done.stdout
    assert "lateral='refuse'" in done.stdout
    assert not (tmp_path / "worker").exists()
    done = subprocess.run(
        [*command[0], "--check"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, SECRET: "x"},
    )
    assert done.returncode == 1
    assert "HTTP 401" in done.stdout + done.stderr


def test_the_bundle_stores_segmentations_and_sigterm_stops_in_order(command, orthanc, tmp_path):
    orthanc.send(write_chest(tmp_path / "images", 1, rows=64))
    orthanc.send(write_chest(tmp_path / "images", 2, rows=64, ViewPosition="LL"))
    log = (tmp_path / "log").open("w")
    process = subprocess.Popen(command[0], stdout=log, stderr=subprocess.STDOUT)
    try:
        health = wait_for(command[1], lambda health: health["cases"]["stored"] == 1)
        assert health["status"] == "ok"
        assert health["cases"]["refused"] >= 1
        metrics = requests.get(f"http://127.0.0.1:{command[1]}/metrics", timeout=10).text
        assert 'mtmedformer_cases{state="stored"} 1.0' in metrics
        assert 'mtmedformer_refused_total{rule="lateral"} 1.0' in metrics
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        log.close()
    stored = orthanc.stored(SEGMENTATION)
    assert stored
    sources = {sources_of(pydicom.dcmread(BytesIO(orthanc.file(each)))) for each in stored}
    assert sources == {uid(1)}
    written = (tmp_path / "log").read_text() + (tmp_path / "worker" / "audit.jsonl").read_text() + metrics
    assert '"event": "stopped"' in written
    assert not [word for word in (*NAME.split("^"), PATIENT, "19500101", "Who^Doctor") if word in written]


def sources_of(segmentation):
    (series,) = segmentation.ReferencedSeriesSequence
    (image,) = series.ReferencedInstanceSequence
    return image.ReferencedSOPInstanceUID


def wait_for(port, condition, seconds=90.0):
    until, health = time.monotonic() + seconds, None
    while time.monotonic() < until:
        try:
            health = requests.get(f"http://127.0.0.1:{port}/health", timeout=10).json()
            if condition(health):
                return health
        except requests.ConnectionError:
            pass
        time.sleep(0.1)
    return pytest.fail(f"not reached in {seconds} s: {health}")


def test_paths_in_the_configuration_are_relative_to_its_folder(command):
    from mtmedformer_monai.deploy.serve.config import load_config

    path = Path(command[0][-1])
    assert load_config(path).folder == path.parent / "worker"
