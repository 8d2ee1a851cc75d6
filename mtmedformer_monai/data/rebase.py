"""Writes an item's paths anew, for a datalist that lies in another folder than the images."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mtmedformer_monai.keys import IMAGE, MASKS

from .datalist import Datalist, Item, resolve_paths


def datalist_path(output: str | Path) -> Path:
    """The file to write: `output` itself where it ends in .json, else `datalist.json` in that folder."""
    output = Path(output)
    return output if output.suffix == ".json" else output / "datalist.json"


def rebase_item(item: Mapping[str, Any], base: Path, folder: Path) -> Item:
    """An item of a datalist in `folder`, from one whose paths start from `base`.

    Paths below `folder` are written relative to it, so that both can move together; others are absolute.
    """
    folder = folder.resolve()
    moved = resolve_paths(item, base.resolve())
    moved[IMAGE] = _place(moved[IMAGE], folder)
    if moved.get(MASKS):
        moved[MASKS] = {name: _place(mask, folder) for name, mask in moved[MASKS].items()}
    return moved


def rebase_datalist(datalist: Datalist, base: Path, folder: Path) -> Datalist:
    """A whole datalist; what is no list of items is kept."""
    return {
        key: [rebase_item(item, base, folder) for item in value] if _is_section(value) else value
        for key, value in datalist.items()
    }


def _is_section(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, Mapping) and IMAGE in item for item in value)


def _place(path: str, folder: Path) -> str:
    absolute = Path(os.path.normpath(path))
    return absolute.relative_to(folder).as_posix() if absolute.is_relative_to(folder) else str(absolute)
