"""The spool: the folder with the images and results of cases that are under way, bounded in size."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path

from .case import Case
from .config import LimitsConfig

_MEGABYTE = 2**20
_INCOMING = "incoming"
RESULTS = "results"
"""Name of the folder with the results of a case."""
_ORIGINAL = "original.dcm"


class Spool:
    """The folders of the cases: `<case>/source` with the image, and `<case>/results`.

    Once an image is de-identified in place, `<case>/original.dcm` is the image as it came.

    Args:
        root: the spool's folder, created if necessary.
        limits: bounds on its size.
        free_bytes: returns the free space of the disk of a folder.
    """

    def __init__(self, root: Path, limits: LimitsConfig, free_bytes: Callable[[Path], int] | None = None) -> None:
        self._root, self._limits = root, limits
        self._free_bytes = free_bytes or (lambda folder: shutil.disk_usage(folder).free)
        shutil.rmtree(root / _INCOMING, ignore_errors=True)  # what a killed process was receiving
        (root / _INCOMING).mkdir(parents=True)

    def folder(self, case: Case) -> Path:
        """Returns the folder of a case."""
        return self._root / case.folder

    def source(self, case: Case) -> Path:
        """Returns the path of a case's image."""
        return self.folder(case) / "source" / "image.dcm"

    def new_file(self) -> Path:
        """Returns a new path for a file that is being received."""
        return self._root / _INCOMING / uuid.uuid4().hex

    def keep(self, received: Path, case: Case) -> None:
        """Moves a received file to its case, and syncs it to the disk."""
        target = self.source(case)
        target.parent.mkdir(parents=True, exist_ok=True)
        self.restore(case)  # a mere deletion could, after a crash, leave the de-identified copy as the image
        sync(received)
        received.replace(target)
        for folder in (target.parent, self.folder(case), self._root):
            sync(folder)

    def restore(self, case: Case) -> None:
        """Replaces the de-identified copy of a case's image, if there is one, by the image as it came."""
        source, original = self.source(case), original_of(self.source(case))
        if not original.exists():
            return
        source.parent.mkdir(exist_ok=True)  # the spool may have been emptied by hand
        original.replace(source)
        original.unlink(missing_ok=True)  # rename keeps both names if they are links to the same file (POSIX)
        for folder in (source.parent, self.folder(case)):
            sync(folder)

    def new_results(self, case: Case) -> Path:
        """Returns the case's folder for results, emptied of what an interrupted inference left."""
        folder = self.folder(case) / RESULTS
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def clear(self, case: Case) -> None:
        """Deletes the files of a case."""
        shutil.rmtree(self.folder(case), ignore_errors=True)

    def sweep(self, needed: Iterable[Case]) -> None:
        """Deletes the folders of all cases but those that need them, after a restart."""
        names = {case.folder for case in needed} | {_INCOMING}
        for folder in self._root.iterdir():
            if folder.name not in names:
                shutil.rmtree(folder, ignore_errors=True)

    def used_bytes(self) -> int:
        """Returns the size of the files of all cases; files that are being received come on top."""
        incoming = str(self._root / _INCOMING)
        folders = ((folder, names) for folder, _, names in os.walk(self._root) if folder != incoming)
        return sum(_size(Path(folder, name)) for folder, names in folders for name in names)

    def problem(self) -> str:
        """Returns why no more images can be taken, or ''."""
        free, limits = self._free_bytes(self._root) // _MEGABYTE, self._limits
        if free < limits.min_free_mb:
            return f"the disk of the worker's folder has {free} MB left, less than limits.min_free_mb; free some space"
        if self.used_bytes() >= limits.spool_mb * _MEGABYTE:
            return (
                "the spool has reached limits.spool_mb: results cannot be stored, or received images failed; see the "
                "other problems and the audit log"
            )
        return ""


def make_folder(folder: Path) -> None:
    """Creates the worker's folder, which only its own user may read (mode 0700); one that exists remains as it is."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def original_of(source: Path) -> Path:
    """Returns where the image as it came is kept, beside the folder of its de-identified copy `source`."""
    return source.parent.parent / _ORIGINAL


def sync(path: Path) -> None:
    """Syncs a file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # deleted in the meantime
        return 0
