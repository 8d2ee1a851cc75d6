"""Lists the files of a folder recursively, including linked folders."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

logger = logging.getLogger(__name__)

_MOST_LISTED = 5


def list_files(folder: str | Path, named: bool = True) -> list[Path]:
    """Returns all files in a folder and its subfolders, sorted by path.

    Links to folders are followed (`Path.rglob` does not follow them before Python 3.13); links to files count as files.
    Each real folder is listed once: under its own path if it is inside `folder`, or else under the first link to it.
    Circular links therefore terminate. Hidden files and folders (names that start with a dot) are excluded.

    Anything that cannot be listed, such as folders without read permission and broken links, is logged as a warning.

    Args:
        folder: root folder, which may itself be a link.
        named: whether warnings name folders and files; names may identify patients.
    """
    walk = _Walk()
    walk.descend(Path(folder))
    while walk.links:
        link = walk.links.pop(0)
        if os.path.realpath(link) not in walk.seen:
            walk.descend(link)
    walk.report(Path(folder), named)
    return sorted(walk.files)


class _Walk:
    """State of a traversal: files found, links to folders not followed yet, and paths that could not be listed."""

    def __init__(self) -> None:
        self.files: list[Path] = []
        self.links: list[Path] = []
        self.seen: set[str] = set()
        self.unreadable: list[Path] = []
        self.dangling: list[Path] = []

    def descend(self, folder: Path) -> None:
        """Collects the files below a folder; links to folders are deferred, so that real paths take precedence."""
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
        """Yields the entries of a folder sorted by name, without hidden ones."""
        try:
            with os.scandir(folder) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            self.unreadable.append(folder)
            return
        yield from (entry for entry in listed if not entry.name.startswith("."))

    def report(self, folder: Path, named: bool) -> None:
        """Logs the folders and links that could not be listed, with or without their names."""
        for paths, what, remedy in (
            (self.unreadable, "folders that cannot be read", "fix their permissions"),
            (self.dangling, "broken or circular links", "fix or remove them"),
        ):
            if paths and not named:
                logger.warning("The contents of %d %s are missing; %s.", len(paths), what, remedy)
            elif paths:
                listed = ", ".join(str(path) for path in sorted(paths)[:_MOST_LISTED])
                more = ", ..." if len(paths) > _MOST_LISTED else ""
                logger.warning(
                    "%s: the contents of %d %s are missing; %s: %s%s", folder, len(paths), what, remedy, listed, more
                )


def _exists(path: Path) -> bool:
    """Returns whether the target of a link exists; a link to itself has no target."""
    try:
        return path.exists()
    except OSError:
        return False
