"""Finds bundles, and reads their tasks from their JSON: a new bundle is a new folder, and no line of Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mtmedformer_monai

METADATA = Path("configs/metadata.json")
TRAINING = Path("configs/train.json")
_CHECKOUT = Path(mtmedformer_monai.__file__).parents[1]


def find_bundles(folder: str | Path | None = None) -> list[Path]:
    """Folders with `configs/metadata.json` and `configs/train.json`, by name.

    Args:
        folder: that holds the bundles; by default `bundles` in the working folder, else in the checkout that the
            package lies in.

    Returns:
        Paths as they can be given to `--bundle`; none where there is no such folder.
    """
    places = [Path(folder)] if folder is not None else [Path("bundles"), _CHECKOUT / "bundles"]
    root = next((place for place in places if place.is_dir()), None)
    if root is None:
        return []
    return sorted(path for path in root.iterdir() if (path / METADATA).is_file() and (path / TRAINING).is_file())


def default_bundle() -> Path | None:
    """The first bundle there is."""
    return next(iter(find_bundles()), None)


def bundle_help() -> str:
    """What `--bundle` can be here, as a help text of argparse."""
    return f"here: {', '.join(map(str, find_bundles())) or 'none found'}".replace("%", "%%")


def read_tasks(bundle: Path) -> list[dict[str, Any]]:
    """The tasks as `configs/train.json` lists them: `_target_`, `name`, and classes or structures.

    Raises:
        FileNotFoundError: no such config.
        ValueError: it lists no tasks.
    """
    path = bundle / TRAINING
    if not path.is_file():
        raise FileNotFoundError(f"no config at {path}; name a bundle's folder with --bundle.")
    tasks = json.loads(path.read_text(encoding="utf-8")).get("tasks")
    if not isinstance(tasks, list):
        raise ValueError(f"{path} expects a list of tasks under 'tasks'; leave --bundle out to check files alone.")
    return tasks
