"""Rewrites the paths of items for a datalist in another folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mtmedformer_monai.keys import IMAGE, LABEL_MAP, MASKS

from .datalist import SECTIONS, Datalist, Item, resolve_paths


def datalist_path(output: str | Path) -> Path:
    """Returns the path of the datalist to write: `output` if it ends in .json, else `datalist.json` in that folder."""
    output = Path(output)
    return output if output.suffix == ".json" else output / "datalist.json"


def rebase_item(item: Mapping[str, Any], base: Path, folder: Path) -> Item:
    """Converts an item with paths relative to `base` for a datalist in `folder`.

    Paths inside `folder` become relative to it, so that the folder can be moved; all others become absolute.
    """
    folder = folder.resolve()
    moved = resolve_paths(item, base.resolve())
    for key in (IMAGE, LABEL_MAP):
        if moved.get(key):
            moved[key] = _place(moved[key], folder)
    if moved.get(MASKS):
        moved[MASKS] = {name: _place(mask, folder) for name, mask in moved[MASKS].items()}
    return moved


def rebase_datalist(datalist: Datalist, base: Path, folder: Path) -> Datalist:
    """Applies `rebase_item` to all items of a datalist, and keeps all other entries.

    Raises:
        ValueError: an item of a section has no image path.
    """
    return {
        key: [rebase_item(item, base, folder) for item in value] if _is_section(key, value) else value
        for key, value in datalist.items()
    }


def _is_section(key: str, value: Any) -> bool:
    has_images = isinstance(value, list) and all(isinstance(item, Mapping) and IMAGE in item for item in value)
    return has_images or (key in SECTIONS and isinstance(value, list))


def _place(path: str, folder: Path) -> str:
    absolute = Path(os.path.normpath(path))
    return absolute.relative_to(folder).as_posix() if absolute.is_relative_to(folder) else str(absolute)
