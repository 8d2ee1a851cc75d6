"""The worker's memory: every case and its state, in SQLite with a write-ahead log.

A change and its audit entry are one transaction, which is on the disk before the method returns. So whatever the
process does next, a restart finds the last completed step.
"""

from __future__ import annotations

import sqlite3
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .audit import AuditNames
from .case import STATES, Case, Refusal, ResultObject, Source, State

_SCHEMA = """
CREATE TABLE IF NOT EXISTS cases (
  number INTEGER PRIMARY KEY, source_uid TEXT NOT NULL, series_uid TEXT NOT NULL, study_uid TEXT NOT NULL,
  model TEXT NOT NULL, origin TEXT NOT NULL, state TEXT NOT NULL, folder TEXT NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0, next_try REAL NOT NULL DEFAULT 0, rule TEXT, reason TEXT,
  UNIQUE (source_uid, model));
CREATE INDEX IF NOT EXISTS due ON cases (state, next_try);
CREATE TABLE IF NOT EXISTS results (
  uid TEXT PRIMARY KEY, source_uid TEXT NOT NULL, model TEXT NOT NULL, study_uid TEXT NOT NULL,
  sop_class TEXT NOT NULL, file TEXT NOT NULL, stored INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS of_case ON results (source_uid, model);
CREATE TABLE IF NOT EXISTS marks (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS events (number INTEGER PRIMARY KEY AUTOINCREMENT, line TEXT NOT NULL);
"""
DEIDENTIFICATION = "de-identification"
"""Name of the mark with the fingerprint of the de-identification's settings."""
_NAME = "database"
_WANTED = "state IN ('seen', 'refused', 'failed')"
_COLUMNS = "source_uid, series_uid, study_uid, model, origin, state, folder"


class StateStore:
    """All cases of one worker; safe to use from several threads.

    Args:
        path: the database, created if necessary.
        names: names of objects in the audit log.
    """

    def __init__(self, path: Path, names: AuditNames) -> None:
        self._names, self._lock = names, threading.RLock()
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30.0)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.executescript(_SCHEMA)
        with self._change() as database:
            database.execute("INSERT OR IGNORE INTO marks VALUES (?, ?)", (_NAME, uuid.uuid4().hex))

    @property
    def name(self) -> str:
        """Random name of the database, by which the audit log tells its numbers from those of another one."""
        return str(self.mark(_NAME))

    def close(self) -> None:
        """Closes the database."""
        with self._lock:
            self._database.close()

    def register(self, case: Case, refusal: Refusal | None = None) -> bool:
        """Adds a case, unless the image is known for this model or is itself a result of the worker.

        Returns:
            Whether it is new.
        """
        state = "refused" if refusal else case.state
        why = (refusal.rule, refusal.reason) if refusal else (None, None)
        row = (*_row(case), state, case.folder, *why, case.source.uid)
        with self._change() as database:
            added = database.execute(
                f"INSERT OR IGNORE INTO cases ({_COLUMNS}, rule, reason) "
                "SELECT ?, ?, ?, ?, ?, ?, ?, ?, ? WHERE NOT EXISTS (SELECT 1 FROM results WHERE uid = ?)",
                row,
            ).rowcount
            if added:
                details = {"rule": refusal.rule, "reason": refusal.reason} if refusal else {}
                self._note(state, case, **details)
        return bool(added)

    def wanted_again(self, uid: str, model: str) -> Case | None:
        """Returns the case of a known image that is taken if it is received: not fetched yet, refused, or failed."""
        rows = self._read(
            f"SELECT {_COLUMNS}, attempts FROM cases WHERE source_uid = ? AND model = ? AND {_WANTED}", (uid, model)
        )
        return _case(rows[0]) if rows else None

    def receive_again(self, case: Case) -> bool:
        """Takes up a case that was `wanted_again`, whose image has been received and is in the case's folder.

        Returns:
            Whether the case is still wanted; otherwise, the worker has fetched the image in the meantime.
        """
        with self._change() as database:
            changed = database.execute(
                "UPDATE cases SET state = 'fetched', origin = 'received', folder = ?, attempts = 0, next_try = 0, "
                f"rule = NULL, reason = NULL {_WHERE} AND {_WANTED}",
                (case.folder, *_key(case)),
            ).rowcount
            if changed:
                self._note("fetched", case, reason="the image was received")
        return bool(changed)

    def is_known(self, uid: str, model: str) -> bool:
        """Returns whether an image has a case for a model, or is a result."""
        found = self._read(
            "SELECT 1 FROM cases WHERE source_uid = ? AND model = ? UNION SELECT 1 FROM results WHERE uid = ?",
            (uid, model, uid),
        )
        return bool(found)

    def next_due(self, states: Sequence[State], now: float, longest: float) -> Case | None:
        """Returns the oldest case in the first of the given states in which one is due.

        Args:
            states: in order of preference.
            now: seconds since 1970.
            longest: longest pause between two attempts; later appointments are due to a clock that was set back.
        """
        for state in states:
            rows = self._read(
                f"SELECT {_COLUMNS}, attempts FROM cases WHERE state = ? AND (next_try <= ? OR next_try > ?) "
                "ORDER BY next_try, number LIMIT 1",
                (state, now, now + longest + 60.0),
            )
            if rows:
                return _case(rows[0])
        return None

    def begin(self, case: Case) -> None:
        """Counts an attempt before it starts, so that an image that kills the process is given up in the end."""
        with self._change() as database:
            database.execute(f"UPDATE cases SET attempts = attempts + 1 {_WHERE}", _key(case))

    def postpone(self, case: Case, until: float, counts: bool) -> None:
        """Ends an attempt that did not succeed; `counts` tells whether the case itself was the reason."""
        with self._change() as database:
            less = 0 if counts else 1
            database.execute(
                f"UPDATE cases SET next_try = ?, attempts = max(0, attempts - ?) {_WHERE} AND folder = ?",
                (until, less, *_key(case), case.folder),
            )

    def advance(self, case: Case, state: State, results: Sequence[ResultObject] = (), **details: object) -> bool:
        """Completes a step: sets the state, records the results, and resets the attempts.

        A case that was received while it was being fetched (`receive_again`) remains as it is.

        Args:
            case: the case.
            state: its new state.
            results: objects that an inference resulted in; they replace earlier ones.
            **details: what the audit entry adds, among it `rule` and `reason` of a refusal or failure.

        Returns:
            Whether the state was set.
        """
        with self._change() as database:
            changed = database.execute(
                f"UPDATE cases SET state = ?, attempts = 0, next_try = 0, rule = ?, reason = ? {_WHERE} AND folder = ?",
                (state, details.get("rule"), details.get("reason"), *_key(case), case.folder),
            ).rowcount
            if not changed:
                return False
            if results:
                database.execute(f"DELETE FROM results {_WHERE}", _key(case))
            for item in results:
                row = (item.uid, *_key(case), item.study_uid, item.sop_class, str(item.file), int(item.stored))
                database.execute("INSERT INTO results VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            self._note(state, case, **details)
        return True

    def results_of(self, case: Case) -> list[ResultObject]:
        """Returns the results of a case."""
        rows = self._read(
            f"SELECT uid, study_uid, sop_class, file, stored FROM results {_WHERE} ORDER BY file", _key(case)
        )
        return [ResultObject(uid, study, kind, Path(file), bool(stored)) for uid, study, kind, file, stored in rows]

    def confirm(self, uid: str) -> None:
        """Records that the archive has a result."""
        with self._change() as database:
            database.execute("UPDATE results SET stored = 1 WHERE uid = ?", (uid,))

    def unfinished(self) -> Iterator[Case]:
        """Yields the cases whose files are needed in the spool."""
        rows = self._read(
            f"SELECT {_COLUMNS}, attempts FROM cases WHERE state IN ('fetched', 'inferred') "
            "OR (state = 'failed' AND origin = 'received')"
        )
        yield from map(_case, rows)

    def counts(self) -> dict[State, int]:
        """Returns {state: number of cases}."""
        found = dict(self._read("SELECT state, count(*) FROM cases GROUP BY state"))
        return {state: int(found.get(state, 0)) for state in STATES}

    def adopt(self, model: str) -> int:
        """Assigns cases of other models that are not yet inferred to this model; returns their number."""
        with self._change() as database:
            others = "state IN ('seen', 'fetched') AND model <> ?"
            moved = database.execute(f"UPDATE OR IGNORE cases SET model = ? WHERE {others}", (model, model)).rowcount
            database.execute(f"DELETE FROM cases WHERE {others}", (model,))
            if moved:
                self._note("adopted", model=model, cases=moved)
        return moved

    def infer_again(self, deidentification: str) -> int:
        """Returns cases that are inferred but not stored to 'fetched', and remembers the de-identification in force.

        Args:
            deidentification: fingerprint of its settings.

        Returns:
            The number of cases.
        """
        with self._change() as database:
            database.execute(
                "DELETE FROM results WHERE EXISTS (SELECT 1 FROM cases WHERE cases.source_uid = results.source_uid "
                "AND cases.model = results.model AND state = 'inferred')"
            )
            again = database.execute(
                "UPDATE cases SET state = 'fetched', attempts = 0, next_try = 0 WHERE state = 'inferred'"
            ).rowcount
            database.execute("INSERT OR REPLACE INTO marks VALUES (?, ?)", (DEIDENTIFICATION, deidentification))
            if again:
                self._note("deidentification changed", cases=again)
        return again

    def retry_failed(self) -> int:
        """Makes failed cases due again, at the step that failed; returns their number."""
        with self._change() as database:
            again = database.execute(
                "UPDATE cases SET attempts = 0, next_try = 0, rule = NULL, reason = NULL, state = "
                "CASE origin WHEN 'received' THEN 'fetched' ELSE 'seen' END WHERE state = 'failed'"
            ).rowcount
            if again:
                self._note("retried", cases=again)
        return again

    def mark(self, name: str) -> str | None:
        """Returns a remembered value, such as the position in the archive's change log."""
        rows = self._read("SELECT value FROM marks WHERE name = ?", (name,))
        return str(rows[0][0]) if rows else None

    def set_mark(self, name: str, value: str | None) -> None:
        """Remembers a value; None forgets it."""
        with self._change() as database:
            if value is None:
                database.execute("DELETE FROM marks WHERE name = ?", (name,))
            else:
                database.execute("INSERT OR REPLACE INTO marks VALUES (?, ?)", (name, value))

    def note(self, event: str, case: Case | None = None, **details: object) -> None:
        """Queues an audit entry about a case, or about the worker as a whole."""
        with self._change():
            self._note(event, case, **details)

    def queued_events(self, limit: int = 500) -> list[tuple[int, str]]:
        """Returns audit entries (number, JSON) that are not yet in the file."""
        return self._read("SELECT number, line FROM events ORDER BY number LIMIT ?", (limit,))

    def drop_events(self, last: int) -> None:
        """Removes audit entries up to a number."""
        with self._change() as database:
            database.execute("DELETE FROM events WHERE number <= ?", (last,))

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    def _read(self, query: str, values: Sequence[object] = ()) -> list[Any]:
        with self._lock:
            return self._database.execute(query, values).fetchall()

    def _note(self, event: str, case: Case | None = None, **details: object) -> None:
        line = self._names.line(event, case, **details)
        self._database.execute("INSERT INTO events (line) VALUES (?)", (line,))


_WHERE = "WHERE source_uid = ? AND model = ?"


def _key(case: Case) -> tuple[str, str]:
    return case.source.uid, case.model


def _row(case: Case) -> tuple[str, str, str, str, str]:
    return case.source.uid, case.source.series_uid, case.source.study_uid, case.model, case.origin


def _case(row: tuple[Any, ...]) -> Case:
    source_uid, series_uid, study_uid, model, origin, state, folder, attempts = row
    return Case(Source(source_uid, series_uid, study_uid), model, origin, state, folder, attempts)
