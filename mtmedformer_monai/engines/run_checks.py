"""What a bundle does before anything else: errors that read well, options that exist, folders that can be written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from mtmedformer_monai.io.error_line import show_error_last

from .config_options import check_options


def prepare_run(bundle_root: str, folders: Mapping[str, str] | None = None) -> None:
    """Stands first in `initialize` of the bundles' configs.

    Args:
        bundle_root: the bundle's folder.
        folders: {option: folder that the run writes into}.

    Raises:
        ValueError: a mistyped option.
        PermissionError: a folder that cannot be written.
    """
    show_error_last()
    check_options(bundle_root)
    for option, folder in (folders or {}).items():
        check_writable(folder, option)


def check_writable(folder: str | Path, option: str) -> None:
    """Checks, before hours of training, that a folder can be written or made; writes nothing.

    Raises:
        PermissionError: it can't; names the option that chooses another.
        NotADirectoryError: a file stands in its place.
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
