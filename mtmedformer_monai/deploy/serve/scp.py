"""The worker's DICOM port: receives images by C-STORE and answers C-ECHO (DICOM PS3.4 B and A.4)."""

from __future__ import annotations

import logging
import sqlite3
import tempfile
import threading
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .case import Case, Refusal, Source, new_case
from .config import ReceiverConfig
from .credentials import server_context
from .rules import ServeRules
from .spool import Spool
from .state import StateStore

logger = logging.getLogger("mtmedformer")

SUCCESS, OUT_OF_RESOURCES, WRONG_OBJECT, NOT_UNDERSTOOD = 0x0000, 0xA700, 0xA900, 0xC000
"""Status codes of C-STORE (PS3.4 B.2.3)."""


@dataclass(frozen=True)
class Intake:
    """Takes received files into the spool. The sender is told of success only after image and case are on the disk.

    Images that a rule refuses are answered with success too: another status would make senders repeat them for ever.

    Attributes:
        state: the cases.
        spool: the spool.
        rules: which images are processed.
        model: SHA-256 hash of the model.
        max_bytes: largest image that is taken.
        lock: two associations may send the same image.
    """

    state: StateStore
    spool: Spool
    rules: ServeRules
    model: str
    max_bytes: int
    lock: threading.Lock

    def take(self, path: Path, announced_uid: str) -> int:
        """Takes a file, and returns the status for the sender.

        Args:
            path: the file; it is moved if it is taken.
            announced_uid: Affected SOP Instance UID of the request.
        """
        source = _read_uids(path)
        if source is None:
            return NOT_UNDERSTOOD
        if source.uid != announced_uid:
            return WRONG_OBJECT
        with self.lock:
            before = self.state.wanted_again(source.uid, self.model)
            if before is None and self.state.is_known(source.uid, self.model):
                return SUCCESS
            case, refusal = new_case(source, self.model, "received"), self._refuse(path)
            if refusal is not None:
                self.state.register(case, refusal)  # a case that is known remains as it is
                return SUCCESS
            if self.spool.problem():
                return OUT_OF_RESOURCES
            if before is None:
                self.spool.keep(path, case)
                self.state.register(case)
            else:
                self._take_again(path, case, before)
            return SUCCESS

    def _take_again(self, path: Path, case: Case, before: Case) -> None:
        """Takes the file of a known case into a new folder, because the worker may be at work in the one before."""
        case = replace(case, folder=uuid.uuid4().hex)
        self.spool.keep(path, case)
        is_taken = self.state.receive_again(case)
        self.spool.clear(before if is_taken else case)

    def _refuse(self, path: Path) -> Refusal | None:
        if path.stat().st_size > self.max_bytes:
            return Refusal("size", "the file is larger than limits.max_object_mb")
        return self.rules.refuse(path)


class Receiver:
    """The DICOM port.

    Args:
        config: address, titles and certificates.
        intake: takes the received files.
        folder: folder for files that are being received; emptied at the next start.
    """

    def __init__(self, config: ReceiverConfig, intake: Intake, folder: Path) -> None:
        import pynetdicom

        logging.getLogger("pynetdicom").setLevel(logging.WARNING)
        pynetdicom._config.STORE_RECV_CHUNKED_DATASET = True  # to a file instead of memory
        self._folder_before, tempfile.tempdir = tempfile.tempdir, str(folder)  # where pynetdicom creates that file
        entity = pynetdicom.AE(ae_title=config.ae_title)
        entity.maximum_associations = config.max_associations
        entity.require_calling_aet = list(config.callers)
        entity.network_timeout = entity.dimse_timeout = entity.acse_timeout = 30.0
        syntaxes = pynetdicom.ALL_TRANSFER_SYNTAXES
        for sop_class in intake.rules.sop_classes:
            entity.add_supported_context(sop_class, syntaxes)
        entity.add_supported_context("1.2.840.10008.1.1")  # Verification
        self._intake = intake
        handlers = [(pynetdicom.evt.EVT_C_STORE, self._on_store)]
        context = None if config.tls is None else server_context(config.tls)
        self._server: Any = entity.start_server(
            (config.host, config.port), block=False, evt_handlers=handlers, ssl_context=context
        )

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stops listening, and ends open associations."""
        self._server.shutdown()
        tempfile.tempdir = self._folder_before

    def _on_store(self, event: Any) -> int:
        path = Path(event.dataset_path)
        try:
            return self._intake.take(path, str(event.request.AffectedSOPInstanceUID))
        except (OSError, sqlite3.Error) as error:  # a full disk; the sender repeats
            logger.warning("a received image was not taken (%s)", type(error).__name__)
            return OUT_OF_RESOURCES
        finally:
            path.unlink(missing_ok=True)


def _read_uids(path: Path) -> Source | None:
    """Reads the UIDs of a file; None if it is damaged or they are incomplete."""
    from mtmedformer_monai.transforms.dicom.header import read_uids
    from mtmedformer_monai.transforms.dicom.parse import read_header

    try:
        uid, series, study = read_uids(read_header(path, with_pixels=False))  # bounded memory, also for deflated files
    except Exception:  # a damaged file can fail anywhere in the parser
        return None
    return Source(uid, series, study) if uid and series and study else None
