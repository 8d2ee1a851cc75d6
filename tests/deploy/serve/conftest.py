"""Fixtures of the worker's tests: a real Orthanc, and a worker connected to it."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from mtmedformer_monai.deploy.serve.config import (
    ArchiveConfig,
    AuthConfig,
    HealthConfig,
    LimitsConfig,
    ServeConfig,
)
from mtmedformer_monai.deploy.serve.service import Model, open_service
from tests.deploy.serve.fake_model import MODEL, FakeModel
from tests.deploy.serve.orthanc import PASSWORD, USER, Orthanc
from tests.deploy.serve.web_archive import WebArchive

SECRET = "MTMEDFORMER_TEST_SECRET"
CHEST = Path(__file__).parents[3] / "bundles" / "chest_xray_multitask"


@pytest.fixture(autouse=True)
def _secret(monkeypatch):
    monkeypatch.setenv(SECRET, PASSWORD)


@pytest.fixture(scope="session")
def _orthanc(tmp_path_factory):
    server = Orthanc(tmp_path_factory.mktemp("orthanc")).start()
    yield server
    server.kill()


@pytest.fixture
def orthanc(_orthanc):
    """An empty Orthanc."""
    _orthanc.clear()
    return _orthanc


@pytest.fixture
def web_archive():
    """An archive whose failures the test chooses."""
    archive = WebArchive()
    yield archive
    archive.close()


def config_for(archive: Orthanc | WebArchive | None, folder: Path, **changes) -> ServeConfig:
    """The configuration of a worker that does not wait long."""
    watched = ArchiveConfig(feed="none")
    if archive is not None:
        auth = AuthConfig("basic", USER, secret_env=SECRET)
        watched = ArchiveConfig(
            url=f"{archive.url}/dicom-web",
            feed="orthanc" if isinstance(archive, Orthanc) else "qido",
            start="beginning",
            poll_seconds=0.02,
            timeout_seconds=20.0,
            auth=auth,
        )
    limits = LimitsConfig(min_free_mb=1, retry_seconds=0.02, max_retry_seconds=0.2)
    defaults = {"archive": watched, "limits": limits, "health": HealthConfig(port=0)}
    return ServeConfig(bundle=CHEST, folder=folder, **{**defaults, **changes})


def with_limits(config, **changes):
    return replace(config, limits=replace(config.limits, **changes))


@contextmanager
def worker(config, infer=None, model=MODEL, **options):
    """Opens a worker; its loop runs when a test calls `settle` or `turn_until`."""
    with open_service(config, Model(infer or FakeModel(), model), **options) as service:
        yield service


def turn_until(service, condition, seconds=20.0):
    """Lets the loop turn until a condition holds."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            pytest.fail(f"not reached in {seconds} s; cases: {service.state.counts()}, {service.health.problems}")
        if not service.worker.turn():
            time.sleep(0.01)
    service.flush_audit()


def settle(service, number, seconds=20.0):
    """Lets the loop turn until `number` cases have reached their final state."""

    def is_settled():
        counts = service.state.counts()
        return counts["stored"] + counts["refused"] + counts["failed"] >= number

    turn_until(service, is_settled, seconds)
