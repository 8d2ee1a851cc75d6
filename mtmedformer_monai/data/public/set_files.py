"""Finds the files of a public set, wherever a release or a copy of it has put them."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from mtmedformer_monai.io.walk_files import list_files

from .label_table import Row, read_table

logger = logging.getLogger(__name__)

PICTURES = (".png", ".jpg", ".jpeg")
RADIOGRAPHS = (".dcm", ".dicom", *PICTURES)
"""Endings in the order of preference: where a copy holds an image twice, the DICOM file is taken."""

TABLES = (".csv", ".xlsx", ".tsv", ".txt", ".xls")
NUM_SHOWN = 8
"""A message lists so many of the files that were found."""

Entry = TypeVar("Entry")


class SetFolder:
    """The files of a set's folder, all below it, links followed; hidden ones and macOS's copies are none.

    Args:
        folder: of the set.
        release: the layout that is known, for messages.
    """

    def __init__(self, folder: Path, release: str) -> None:
        self.folder, self.release = folder, release
        found = (path for path in list_files(folder) if "__MACOSX" not in path.parts)
        self.files = tuple(sorted(found, key=lambda path: (len(path.parts), path)))

    def find(self, pattern: str, suffixes: Sequence[str]) -> list[Path]:
        """Files of some endings whose path matches, in the order of the endings, then of depth and name.

        Args:
            pattern: regular expression, searched in the path from the folder without the ending, in any case.
            suffixes: with dots, in lower case.
        """
        wanted = re.compile(pattern, re.IGNORECASE)
        found = [path for path in self.files if path.suffix.lower() in suffixes and wanted.search(self._place(path))]
        return sorted(found, key=lambda path: suffixes.index(path.suffix.lower()))

    def by_stem(self, pattern: str, suffixes: Sequence[str]) -> dict[str, Path]:
        """The first file of each stem that `find` finds."""
        found: dict[str, Path] = {}
        for path in self.find(pattern, suffixes):
            found.setdefault(path.stem, path)
        return found

    def images(self, pattern: str, suffixes: Sequence[str], expected: str) -> dict[str, Path]:
        """Images by stem.

        Raises:
            FileNotFoundError: none is there.
        """
        found = self.by_stem(pattern, suffixes)
        if not found:
            raise self.lacks(expected)
        return found

    def table_path(self, pattern: str, expected: str) -> Path:
        """The path of the set's table whose stem matches; in any folder, CSV before Excel.

        Raises:
            FileNotFoundError: none is there.
        """
        found = self.find(rf"(^|/)({pattern})$", TABLES)
        if not found:
            raise self.lacks(f"the set's table {expected}")
        return found[0]

    def table(self, pattern: str, expected: str, columns: Sequence[str], optional: Sequence[str] = ()) -> list[Row]:
        """The rows of the set's table whose stem matches.

        Raises:
            FileNotFoundError: none is there.
            ValueError: it lacks rows or a column.
        """
        return read_table(self.table_path(pattern, expected), columns, optional)

    def lacks(self, expected: str) -> FileNotFoundError:
        """The error that names what was looked for, what was found, and the release that is known."""
        shown = [path.relative_to(self.folder).as_posix() for path in self.files[:NUM_SHOWN]]
        more = f" and {len(self.files) - NUM_SHOWN} more" if len(self.files) > NUM_SHOWN else ""
        found = f"found {', '.join(shown)}{more}" if shown else "found no file"
        return FileNotFoundError(
            f"{self.folder} expects {expected}; {found}. Known is: {self.release}. Unpack the set's archives there."
        )

    def log_present(self, num_present: int, num_listed: int) -> None:
        """Logs how many of the listed images are there: a part of a set will do.

        Raises:
            FileNotFoundError: none is.
        """
        logger.info("%d of the %d images listed are in %s.", num_present, num_listed, self.folder)
        if not num_present:
            raise self.lacks(f"images that its tables list ({num_listed})")

    def _place(self, path: Path) -> str:
        return path.relative_to(self.folder).with_suffix("").as_posix()


def place_of(path: Path, folder: Path) -> str:
    """A file's path as an item has it: relative to the set's folder, absolute where it lies elsewhere."""
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path.resolve())


def show_progress(entries: Iterable[Entry], title: str, unit: str) -> Iterator[Entry]:
    """Goes through entries with a progress bar."""
    yield from tqdm(list(entries), desc=title, unit=unit, mininterval=2.0)
