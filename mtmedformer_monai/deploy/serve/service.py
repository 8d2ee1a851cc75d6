"""Builds the worker from its configuration, and runs it until it is told to stop."""

from __future__ import annotations

import fcntl
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from mtmedformer_monai.deploy.headers.quiet import quiet_libraries

from .archive import DicomWebArchive
from .audit import AuditFile, make_names
from .config import ServeConfig
from .deidentifier import fingerprint
from .feeds import POSITIONS, make_feed
from .health import Health, HealthServer
from .inference import Deidentify, Infer
from .loop import Worker
from .metrics import WorkerMetrics
from .rules import load_rules
from .scp import Intake, Receiver
from .sender import CStoreSender, Sender
from .spool import Spool, make_folder
from .state import DEIDENTIFICATION, StateStore
from .steps import Parts

logger = logging.getLogger("mtmedformer")

IDLE_SECONDS = 0.2
"""Pause of an idle loop, after which received images are noticed."""


@dataclass(frozen=True)
class Model:
    """What infers.

    Attributes:
        infer: inference on one image.
        sha256: hash of everything that determines its output.
        deidentify: changes an image before inference; None leaves it.
    """

    infer: Infer
    sha256: str
    deidentify: Deidentify | None = None


@dataclass(frozen=True)
class Service:
    """A worker whose ports are open.

    Attributes:
        worker: the loop.
        state: the cases.
        spool: their files.
        health: the present problems.
        health_port: port of /health and /metrics.
        receiver_port: DICOM port, or 0.
        flush_audit: copies queued audit entries to the file.
    """

    worker: Worker
    state: StateStore
    spool: Spool
    health: Health
    health_port: int
    receiver_port: int
    flush_audit: Callable[[], None]

    def run(self, stop: threading.Event, once: bool = False) -> None:
        """Works until `stop` is set; `once` ends it also when nothing is left to do at present."""
        while not stop.is_set():
            busy = self.worker.turn()
            self.flush_audit()
            if not busy and once:
                break
            if not busy:
                stop.wait(IDLE_SECONDS)


@contextmanager
def open_service(
    config: ServeConfig,
    model: Model,
    retry_failed: bool = False,
    from_beginning: bool = False,
    free_bytes: Callable[[Path], int] | None = None,
    reached: Callable[[str], None] = lambda _: None,
) -> Iterator[Service]:
    """Opens state, spool and ports, and closes them at the end.

    Args:
        config: the configuration.
        model: what infers.
        retry_failed: whether failed cases become due again.
        from_beginning: whether the archive is read from its beginning; known images are not processed again.
        free_bytes: returns the free space of a folder's disk, for tests.
        reached: see `steps.Parts`.

    Raises:
        ValueError: the configuration names something that is missing.
        OSError: the folder is used by another worker, or a port by another program.
    """
    rules, names = load_rules(config.bundle, config.rules), make_names(config.audit, config.deidentify)
    make_folder(config.folder)
    with ExitStack() as stack:
        stack.enter_context(quiet_libraries())
        stack.enter_context(_locked(config.folder / "lock"))
        state = StateStore(config.folder / "state.sqlite", names)
        stack.callback(state.close)
        spool = Spool(config.folder / "spool", config.limits, free_bytes)
        _keep_deidentification(state, spool, fingerprint(config.deidentify))
        _restart(state, spool, model, retry_failed, from_beginning)
        archive = DicomWebArchive(config.archive) if config.archive.url else None
        parts = Parts(
            state, spool, rules, model.infer, archive, _make_sender(config, archive), config.limits, model.deidentify,
            reached,
        )  # fmt: skip
        health = Health()
        metrics = WorkerMetrics(state.counts, health, spool.used_bytes, model.sha256)
        watched = replace(config.archive, start="beginning") if from_beginning else config.archive
        feed = None if archive is None else make_feed(archive, state, watched, rules.modalities)
        worker = Worker(parts, feed, model.sha256, health, metrics, config.archive.poll_seconds)
        describe = _describer(health, state, model)
        server = HealthServer(config.health.host, config.health.port, describe, metrics.text)
        stack.callback(server.close)
        port = 0
        if config.receiver.enabled:
            limit = config.limits.max_object_mb * 2**20
            intake = Intake(state, spool, rules, model.sha256, limit, threading.Lock())
            receiver = Receiver(config.receiver, intake, spool.new_file().parent)
            stack.callback(receiver.close)
            port = receiver.port
        flush = _flusher(state, health, config.audit.file or config.folder / "audit.jsonl")
        state.note("started", model=model.sha256)
        yield Service(worker, state, spool, health, server.port, port, flush)
        state.note("stopped")
        flush()


def _keep_deidentification(state: StateStore, spool: Spool, settings: str) -> None:
    """Discards what was de-identified, or not, by other settings than the present ones and is not stored yet.

    A database without a mark is of a worker that did not remember its settings, so they may have been others.
    """
    if state.mark(DEIDENTIFICATION) == settings:
        return
    for case in state.unfinished():
        spool.restore(case)
    if again := state.infer_again(settings):
        logger.info("%d cases are inferred again, because the settings of deidentify have changed", again)


def _restart(state: StateStore, spool: Spool, model: Model, retry_failed: bool, from_beginning: bool) -> None:
    """Takes up what the last run left."""
    if retry_failed:  # first, so that failed cases of another model are adopted, too
        logger.info("%d failed cases are due again", state.retry_failed())
    state.adopt(model.sha256)
    if from_beginning:
        for name in POSITIONS:
            state.set_mark(name, None)
    spool.sweep(state.unfinished())


def _make_sender(config: ServeConfig, archive: DicomWebArchive | None) -> Sender:
    if config.store.by == "stow" and archive is not None:
        return archive
    return CStoreSender(config.store, archive)


def _describer(health: Health, state: StateStore, model: Model) -> Callable[[], dict[str, object]]:
    """Returns the function that describes the worker at /health."""

    def describe() -> dict[str, object]:
        return {
            "status": health.status,
            "problems": dict(health.problems),
            "cases": dict(state.counts()),
            "model": model.sha256,
            "notice": "for research use only",
        }

    return describe


def _flusher(state: StateStore, health: Health, path: Path) -> Callable[[], None]:
    """Returns the function that copies queued audit entries to the file; a failure is a problem, not an error."""
    file = AuditFile(path, state.name)

    def flush() -> None:
        try:
            while lines := state.queued_events():
                file.append(lines)
                state.drop_events(lines[-1][0])
        except (OSError, sqlite3.OperationalError) as error:
            health.set("audit", f"the audit log cannot be written ({type(error).__name__}); its entries are queued")
        else:
            health.set("audit", "")

    return flush


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds a lock, so that no second worker uses the folder; the system releases it when the process ends."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OSError(f"folder {path.parent} is used by another worker; stop that one, or set 'folder'.") from error
        yield
