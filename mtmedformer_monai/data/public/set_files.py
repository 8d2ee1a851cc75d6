"""Finds the files of a public dataset in the layouts of its different releases and copies."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from mtmedformer_monai.io.walk_files import list_files

from .converters import CONVERTERS, output_folders
from .label_table import Row, read_table

logger = logging.getLogger(__name__)

PICTURES = (".png", ".jpg", ".jpeg")
RADIOGRAPHS = (".dcm", ".dicom", *PICTURES)
"""Extensions in order of preference: if an image exists in several formats, the DICOM file is used."""

TABLES = (".csv", ".xlsx", ".tsv", ".txt", ".xls")
NUM_SHOWN = 8
"""Maximum number of files listed in an error message."""

Entry = TypeVar("Entry")


class SetFolder:
    """All files of a dataset folder, searched recursively including links, without hidden files and `__MACOSX` folders.

    The masks and images that a conversion wrote below the folder are not files of the dataset.

    Args:
        folder: dataset folder.
        release: description of the supported layouts, for error messages.
    """

    def __init__(self, folder: Path, release: str) -> None:
        self.folder, self.release = folder, release
        ignored = {"__MACOSX", *(name for known in CONVERTERS for name in output_folders(known))}
        found = (path for path in list_files(folder) if not ignored & {*path.relative_to(folder).parts[:-1]})
        self.files = tuple(sorted(found, key=lambda path: (len(path.parts), path)))

    def find(self, pattern: str, suffixes: Sequence[str]) -> list[Path]:
        """Returns the files with given extensions whose path matches, sorted by extension, depth and name.

        Args:
            pattern: regular expression, searched case-insensitively in the relative path without the extension.
            suffixes: extensions in lower case, with dots, in order of preference.
        """
        wanted = re.compile(pattern, re.IGNORECASE)
        found = [path for path in self.files if path.suffix.lower() in suffixes and wanted.search(self._place(path))]
        return sorted(found, key=lambda path: suffixes.index(path.suffix.lower()))

    def by_stem(self, pattern: str, suffixes: Sequence[str]) -> dict[str, Path]:
        """Returns the first file found by `find` for each stem: {stem: path}."""
        found: dict[str, Path] = {}
        for path in self.find(pattern, suffixes):
            found.setdefault(path.stem, path)
        return found

    def images(self, pattern: str, suffixes: Sequence[str], expected: str) -> dict[str, Path]:
        """Returns images by stem; `expected` describes them for the error message.

        Raises:
            FileNotFoundError: there are no images.
        """
        found = self.by_stem(pattern, suffixes)
        if not found:
            raise self.lacks(expected)
        return found

    def table_path(self, pattern: str, expected: str) -> Path:
        """Returns the path of the table whose stem matches, in any folder; CSV files take precedence over Excel files.

        Raises:
            FileNotFoundError: there is no such table.
        """
        found = self.find(rf"(^|/)({pattern})$", TABLES)
        if not found:
            raise self.lacks(f"the dataset's table {expected}")
        return found[0]

    def table(self, pattern: str, expected: str, columns: Sequence[str], optional: Sequence[str] = ()) -> list[Row]:
        """Returns the rows of the table whose stem matches.

        Raises:
            FileNotFoundError: there is no such table.
            ValueError: the table has no rows, or a column is missing.
        """
        return read_table(self.table_path(pattern, expected), columns, optional)

    def lacks(self, expected: str) -> FileNotFoundError:
        """Creates an error that states which files were expected and found, and the supported layouts."""
        shown = [path.relative_to(self.folder).as_posix() for path in self.files[:NUM_SHOWN]]
        more = f" and {len(self.files) - NUM_SHOWN} more" if len(self.files) > NUM_SHOWN else ""
        found = f"found {', '.join(shown)}{more}" if shown else "found no file"
        return FileNotFoundError(
            f"{self.folder} expects {expected}; {found}. Supported: {self.release}. Unpack the archives there."
        )

    def log_present(self, num_present: int, num_listed: int) -> None:
        """Logs how many of the listed images exist; a subset of the dataset is sufficient.

        Raises:
            FileNotFoundError: none of the images exists.
        """
        logger.info("Found %d of the %d listed images in %s.", num_present, num_listed, self.folder)
        if not num_present:
            raise self.lacks(f"images that its tables list ({num_listed})")

    def _place(self, path: Path) -> str:
        return path.relative_to(self.folder).with_suffix("").as_posix()


def place_of(path: Path, folder: Path) -> str:
    """Returns the path for a datalist item: relative to the dataset folder, or absolute if the file is elsewhere."""
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path.resolve())


def show_progress(entries: Iterable[Entry], title: str, unit: str) -> Iterator[Entry]:
    """Iterates over entries and shows a progress bar."""
    yield from tqdm(list(entries), desc=title, unit=unit, mininterval=2.0)
