"""Finds the files of a public set below its folder, and names what was expected where they are not there."""

from __future__ import annotations

import logging
from pathlib import Path

from mtmedformer_monai.io.walk_files import glob_files

logger = logging.getLogger(__name__)


def index_files(folder: Path, *patterns: str) -> dict[str, Path]:
    """The files that match any of the patterns, by name.

    Args:
        folder: of the set.
        patterns: as `glob_files` takes them, from `folder`; folders may be links.

    Returns:
        {file name: path}, in the order of the patterns, then of the paths.

    Raises:
        FileNotFoundError: nothing matches.
    """
    found = {path.name: path for pattern in patterns for path in glob_files(folder, pattern)}
    if not found:
        raise FileNotFoundError(f"{folder} expects {' or '.join(patterns)}; unpack the set's own archives there.")
    return found


def find_root(folder: Path, part: str, *candidates: str) -> Path:
    """The folder that holds a part of the layout, where archives unpack into one folder more or less.

    Args:
        folder: of the set.
        part: file or folder that the root holds.
        candidates: folders below `folder` that may be the root, beside itself.

    Raises:
        FileNotFoundError: none of them holds it.
    """
    for root in (folder, *(folder / candidate for candidate in candidates)):
        if (root / part).exists():
            return root
    raise FileNotFoundError(
        f"{folder} expects {part} in itself{''.join(f' or {name}' for name in candidates)}; unpack the set there."
    )


def place_of(path: Path, folder: Path) -> str:
    """A file's path as an item has it: relative to the set's folder, absolute where it lies elsewhere."""
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path.resolve())


def tell_present(num_present: int, num_listed: int, folder: Path) -> None:
    """Logs how many of the listed images are there: a part of a set will do.

    Raises:
        FileNotFoundError: none is.
    """
    logger.info("%d of the %d images listed are in %s.", num_present, num_listed, folder)
    if not num_present:
        raise FileNotFoundError(f"{folder} expects images that its tables list, got none; unpack the image archives.")
