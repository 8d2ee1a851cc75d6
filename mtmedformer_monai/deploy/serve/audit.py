"""The audit log: one JSON line for each change of a case's state, without any attribute of a patient.

The lines are queued in the state's database by the same transaction as the change itself (`state.py`), and copied to
the file afterwards. So no change lacks its line, not even if the process is killed in between.
"""

from __future__ import annotations

import datetime
import hmac
import json
import os
from collections.abc import Callable
from pathlib import Path

from .case import Case
from .config import AuditConfig, DeidentifyConfig
from .deidentifier import make_deidentifier

_DIGITS = 32


class AuditNames:
    """The names of objects in the log: their UIDs, or keyed hashes of them.

    A UID cannot be guessed from a keyed hash (HMAC-SHA256) without the key, but whoever has the key can look it up.

    Args:
        key: key of the hashes; None shows the UIDs.
        pseudonym: returns the UID under which the results know a source; None if that is its own.
    """

    def __init__(self, key: bytes | None = None, pseudonym: Callable[[str], str] | None = None) -> None:
        self._key, self._pseudonym = key, pseudonym

    def source(self, uid: str) -> str:
        """Returns the name of a source image or its study in the log."""
        return self.name(uid if self._pseudonym is None else self._pseudonym(uid))

    def name(self, uid: str) -> str:
        """Returns the name of a result in the log."""
        return uid if self._key is None else hmac.new(self._key, uid.encode(), "sha256").hexdigest()[:_DIGITS]

    def line(self, event: str, case: Case | None = None, **details: object) -> str:
        """Returns one entry as JSON, without its number; the detail `uids` names the results."""
        entry: dict[str, object] = {"time": datetime.datetime.now(datetime.timezone.utc).isoformat(), "event": event}
        if case is not None:
            entry |= {"source": self.source(case.source.uid), "study": self.source(case.source.study_uid)}
            entry |= {"model": case.model, "origin": case.origin}
        uids = details.pop("uids", None)
        if isinstance(uids, list):
            entry["results"] = [self.name(str(uid)) for uid in uids]
        return json.dumps(entry | details)


def make_names(config: AuditConfig, deidentify: DeidentifyConfig | None = None) -> AuditNames:
    """Reads the key of the hashes from the environment, if UIDs are to be hashed.

    With `deidentify.uids: replace`, sources have the UIDs that their results refer to, so that the log does not connect
    results with patients.

    Raises:
        FileNotFoundError: the key of the de-identification does not exist.
        ValueError: the environment variable is not set, or a key is too short.
    """
    deidentifier = None if deidentify is None else make_deidentifier(deidentify)
    pseudonym = None if deidentifier is None or deidentifier.keeps_uids else deidentifier.uid
    if not config.hash_uids:
        return AuditNames(None, pseudonym)
    key = os.environ.get(config.key_env, "")
    if not key:
        raise ValueError(
            f"audit.hash_uids expects a key in the environment variable {config.key_env}; set it to a random text, "
            "and keep it to be able to find a UID in the log."
        )
    return AuditNames(key.encode(), pseudonym)


class AuditFile:
    """Appends numbered lines to a file; lines that it already ends with are not repeated.

    Each line names its database, because a new database numbers its entries from 1 again. The file is opened for each
    call, so that a log rotation may rename it at any time.

    Args:
        path: the file, created if necessary.
        database: name of the database that numbers the entries.
    """

    def __init__(self, path: Path, database: str) -> None:
        self._path, self._database = path, database
        self._last = _last_number(path, database)

    def append(self, lines: list[tuple[int, str]]) -> None:
        """Writes entries (number, JSON) and syncs them to the disk.

        Raises:
            OSError: the disk is full, or the file cannot be written.
        """
        new = [(number, line) for number, line in lines if number > self._last]
        if not new:
            return
        text = "".join(f'{{"number": {number}, "database": "{self._database}", {line[1:]}\n' for number, line in new)
        if _ends_within_line(self._path):  # a full disk or a power failure cut it
            text = f"\n{text}"
        with self._path.open("a", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        self._last = new[-1][0]


def _ends_within_line(path: Path) -> bool:
    if not path.is_file() or not path.stat().st_size:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() != b"\n"


def _last_number(path: Path, database: str) -> int:
    """Returns the number of the last complete line of a database in a file, or 0.

    Lines of earlier versions, which name no database, are passed over: to repeat one is better than to lose one.
    """
    if not path.is_file():
        return 0
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2**16))
        tail = file.read()
    for line in reversed(tail.split(b"\n")):
        try:
            entry = json.loads(line)
            if entry["database"] == database:
                return int(entry["number"])
        except (ValueError, KeyError, TypeError):
            continue
    return 0
