"""Records the images that a run skips, across all data loader workers."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from .findings import Kind

logger = logging.getLogger(__name__)

Record = dict[str, Any]


class SkippedImages:
    """Keeps one record per skipped image, in memory and in a JSON file.

    The file is a list of `{"image": path, "kind": kind, "problem": text}` in the order of the datalist. Processes
    update it under a lock, so that it includes the images skipped by data loader workers.

    Args:
        path: path of the file; None keeps only the records of this process, in memory.
    """

    def __init__(self, path: str | Path | None) -> None:
        self.path = Path(path) if path is not None else None
        self._records: dict[int, Record] = {}

    def restart(self, records: list[Record]) -> None:
        """Replaces the records of an earlier run. The file is written if there are records, or if it exists already."""
        self._records = {record["index"]: record for record in records}
        if self.path is not None and (records or self.path.exists()):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.unlink(missing_ok=True)  # the old file may belong to another user
            self.path.touch()
            with _locked(self.path) as file:
                _write(file, self._records)

    def add(self, index: int, image: str, kind: Kind, problem: str) -> None:
        """Records one image, and logs it unless another process has already recorded it."""
        if index in self._records:
            return
        self._records[index] = {"index": index, "image": image, "kind": kind, "problem": problem}
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.touch()
            with _locked(self.path) as file:
                known = _read(file)
                is_new = index not in known
                self._records = known | self._records
                _write(file, self._records)
            if not is_new:
                return
        logger.warning("An image is skipped: %s", problem)

    def listed(self) -> list[dict[str, str]]:
        """Returns the records of all processes, in the order of the datalist."""
        if self.path is not None and self.path.is_file():
            with _locked(self.path) as file:
                self._records = _read(file) | self._records
        return [_public_fields(self._records[index]) for index in sorted(self._records)]


@contextmanager
def _locked(path: Path) -> Iterator[IO[str]]:
    """Opens a file with an exclusive lock (on systems with POSIX locks)."""
    with path.open("r+", encoding="utf-8") as file:
        if os.name == "posix":
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def _read(file: IO[str]) -> dict[int, Record]:
    file.seek(0)
    text = file.read()
    return {record["index"]: record for record in json.loads(text)} if text else {}


def _write(file: IO[str], records: dict[int, Record]) -> None:
    file.seek(0)
    file.truncate()
    json.dump([records[index] for index in sorted(records)], file, indent=1)


def _public_fields(record: Record) -> dict[str, str]:
    return {key: str(record[key]) for key in ("image", "kind", "problem")}
