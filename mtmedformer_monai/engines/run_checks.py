"""Checks at the start of a bundle run: readable errors, valid options and writable output folders."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from mtmedformer_monai.io.error_line import show_error_last

from .config_options import check_options


def prepare_run(bundle_root: str, folders: Mapping[str, str] | None = None) -> None:
    """Prepares a run; called first in `initialize` of the bundles' configs.

    Args:
        bundle_root: the bundle's folder.
        folders: {option: folder that the run writes to}.

    Raises:
        ValueError: if an option is mistyped.
        PermissionError: if a folder is not writable.
    """
    show_error_last()
    check_options(bundle_root)
    for option, folder in (folders or {}).items():
        check_writable(folder, option)


def check_writable(folder: str | Path, option: str) -> None:
    """Checks that a folder is writable or can be created, without writing anything.

    Raises:
        PermissionError: if it cannot; the message names the option that selects another folder.
        NotADirectoryError: if the path, or one of its parents, is a file.
    """
    place = Path(os.path.abspath(folder))  # noqa: PTH100 - what a link points to may not exist yet
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise NotADirectoryError(f"{option} expects a folder, but {place} is a file; choose another by --{option}.")
    if not os.access(place, os.W_OK | os.X_OK):
        raise PermissionError(
            f"{option} expects a folder that can be written, and {folder} can't; choose another by --output_dir"
            + ("." if option == "output_dir" else f" or --{option}.")
        )
