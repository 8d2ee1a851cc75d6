"""Finds bundles and reads their tasks from JSON, so that a new bundle needs a new folder but no Python code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mtmedformer_monai

METADATA = Path("configs/metadata.json")
TRAINING = Path("configs/train.json")
_CHECKOUT = Path(mtmedformer_monai.__file__).parents[1]


def find_bundles(folder: str | Path | None = None) -> list[Path]:
    """Lists the folders that contain `configs/metadata.json` and `configs/train.json`, sorted by name.

    Args:
        folder: parent folder of the bundles. Defaults to `bundles` in the working directory, or else to `bundles` in
            the source checkout that contains this package.

    Returns:
        Paths that can be passed to `--bundle`; an empty list if the parent folder does not exist.
    """
    places = [Path(folder)] if folder is not None else [Path("bundles"), _CHECKOUT / "bundles"]
    root = next((place for place in places if place.is_dir()), None)
    if root is None:
        return []
    return sorted(path for path in root.iterdir() if (path / METADATA).is_file() and (path / TRAINING).is_file())


def default_bundle() -> Path | None:
    """Returns the first bundle found, or None if there is none."""
    return next(iter(find_bundles()), None)


def is_own(bundle: Path) -> bool:
    """Returns whether a bundle is one of the source checkout that contains this package."""
    return bundle.resolve() in [path.resolve() for path in find_bundles(_CHECKOUT / "bundles")]


def bundle_help() -> str:
    """Returns the help text of `--bundle`, escaped for argparse, which lists the bundles found."""
    return f"bundles found: {', '.join(map(str, find_bundles())) or 'none'}".replace("%", "%%")


def read_tasks(bundle: Path) -> list[dict[str, Any]]:
    """Returns the tasks listed in `configs/train.json`, each with `_target_`, `name`, and classes or structures.

    Raises:
        FileNotFoundError: the config does not exist.
        ValueError: the config does not list any tasks.
    """
    path = bundle / TRAINING
    if not path.is_file():
        raise FileNotFoundError(f"no config at {path}; specify a bundle folder with --bundle.")
    tasks = json.loads(path.read_text(encoding="utf-8")).get("tasks")
    if not isinstance(tasks, list):
        raise ValueError(f"{path} expects a list of tasks under 'tasks'; omit --bundle to check the files only.")
    return tasks
