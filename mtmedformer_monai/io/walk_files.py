"""Lists the files of a folder and of all below it, folders that are links included."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

logger = logging.getLogger(__name__)

_MOST_LISTED = 5


def list_files(folder: str | Path) -> list[Path]:
    """All files below a folder, in the order of their paths.

    Links to folders are followed (`Path.rglob` passes them over before Python 3.13), links to files count as files.
    Each real folder is listed once: under its own path if it lies below `folder`, else under the first link to it. So
    links that lead in a circle end. Hidden files and folders (a name that starts with a dot) are left out.

    What cannot be listed is logged as a warning: folders without permission, links that lead nowhere.

    Args:
        folder: to start from; it may be a link itself.
    """
    walk = _Walk()
    walk.descend(Path(folder))
    while walk.links:
        link = walk.links.pop(0)
        if os.path.realpath(link) not in walk.seen:
            walk.descend(link)
    walk.report(Path(folder))
    return sorted(walk.files)


def glob_files(folder: str | Path, pattern: str) -> list[Path]:
    """As `Path.glob`, of files alone, but `**` goes through folders that are links; hidden files are left out.

    Args:
        folder: to start from.
        pattern: relative; one `**` at the most.

    Raises:
        ValueError: several `**`.
    """
    root, deep, tail = pattern.partition("**/")
    if "**" in root or "**" in tail:
        raise ValueError(f"pattern expects one '**/' at the most, got {pattern!r}.")
    if not deep:
        found = Path(folder).glob(pattern)
        return sorted(path for path in found if path.is_file() and not path.name.startswith("."))
    starts = [Path(folder)] if not root else [path for path in Path(folder).glob(root.rstrip("/")) if path.is_dir()]
    return sorted({file for start in starts for file in list_files(start) if file.relative_to(start).match(tail)})


class _Walk:
    """Files found so far, links to folders that are still to be followed, and what could not be listed."""

    def __init__(self) -> None:
        self.files: list[Path] = []
        self.links: list[Path] = []
        self.seen: set[str] = set()
        self.unreadable: list[Path] = []
        self.dangling: list[Path] = []

    def descend(self, folder: Path) -> None:
        """Takes what lies below a folder; links to folders are put aside, so that real paths come first."""
        waiting = [folder]
        while waiting:
            current = waiting.pop()
            real = os.path.realpath(current)
            if real in self.seen:
                continue
            self.seen.add(real)
            for entry in self._scan(current):
                path = Path(entry.path)
                if not entry.is_symlink():
                    (waiting if entry.is_dir() else self.files if entry.is_file() else []).append(path)
                elif not _exists(path):
                    self.dangling.append(path)
                else:
                    (self.links if path.is_dir() else self.files if path.is_file() else []).append(path)

    def _scan(self, folder: Path) -> Iterator[os.DirEntry[str]]:
        """Entries by name, without hidden ones."""
        try:
            with os.scandir(folder) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            self.unreadable.append(folder)
            return
        yield from (entry for entry in listed if not entry.name.startswith("."))

    def report(self, folder: Path) -> None:
        """Logs what could not be listed."""
        for paths, what, remedy in (
            (self.unreadable, "folders that cannot be read", "mend their permissions"),
            (self.dangling, "links that lead nowhere or in a circle", "mend or remove them"),
        ):
            if paths:
                named = ", ".join(str(path) for path in sorted(paths)[:_MOST_LISTED])
                more = ", ..." if len(paths) > _MOST_LISTED else ""
                logger.warning(
                    "%s: what lies behind %d %s is missing; %s: %s%s", folder, len(paths), what, remedy, named, more
                )


def _exists(path: Path) -> bool:
    """Whether a link leads somewhere; one to itself does not."""
    try:
        return path.exists()
    except OSError:
        return False
