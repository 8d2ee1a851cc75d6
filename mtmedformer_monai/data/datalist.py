"""Reads and writes datalists: JSON files in MONAI's format, with one list of items per section.

`{"training": [...], "validation": [...], "test": [...], "name": ..., ...}`; `mtmedformer_monai.keys` documents the
keys of an item.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mtmedformer_monai.keys import IMAGE, LABEL_MAP, MASKS

Item = dict[str, Any]
Datalist = dict[str, Any]

SECTIONS = ("training", "validation", "test")


def read_datalist(path: str | Path) -> Datalist:
    """Reads a complete datalist without changes; relative paths start from the datalist's folder.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is not UTF-8, is not valid JSON, or contains none of the sections.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no datalist at {path}; create one with: mtmedformer datalist --help")
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))  # with or without a byte order mark
    except UnicodeDecodeError as error:
        raise ValueError(
            f"datalist {path} is not UTF-8 (byte {error.start}; PowerShell's > writes UTF-16, Excel Latin-1); "
            "save it as UTF-8."
        ) from error
    except RecursionError as error:
        raise ValueError(f"datalist {path} expects lists of items, got deeply nested JSON; create it again.") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"datalist {path} is not valid JSON ({error}); fix it or create it again.") from error
    if not isinstance(content, dict) or not any(isinstance(content.get(section), list) for section in SECTIONS):
        raise ValueError(f"datalist {path} expects one or more of the lists {SECTIONS}; see docs/data.md.")
    return content


def load_datalist(path: str | Path, section: str, base_dir: str | Path | None = None) -> list[Item]:
    """Loads one section of a datalist and makes the paths of images and masks absolute.

    Args:
        path: path of the datalist.
        section: 'training', 'validation' or 'test'.
        base_dir: base folder of relative paths; defaults to the datalist's folder.

    Returns:
        Items for a dataset, which the caller may modify.

    Raises:
        FileNotFoundError: the datalist does not exist.
        ValueError: the section is missing or empty, or an item has no image.
    """
    datalist = read_datalist(path)
    items = datalist.get(section)
    if not items:
        filled = [name for name, value in datalist.items() if isinstance(value, list) and value]
        raise ValueError(
            f"datalist {path} has no items under {section!r}, but under {filled or 'no list'}; name another list, or "
            "split it with: mtmedformer datalist split"
        )
    wrong = [f"{section}[{index}] {text}" for index, item in enumerate(items) if (text := image_problem(item))]
    if wrong:
        raise ValueError(f"datalist {path} has items without an image to load:\n{list_some(wrong)}")
    folder = Path(base_dir) if base_dir is not None else Path(path).parent
    return [resolve_paths(item, folder.resolve()) for item in items]


def image_problem(item: Any) -> str:
    """Returns why an item has no image path, or '' if it has one."""
    if not isinstance(item, Mapping):
        return f"expects an object with {IMAGE!r}, got {type(item).__name__}; fix or remove it."
    if not item.get(IMAGE):
        return f"of the datalist has no {IMAGE!r}; give each item the path of its image."
    if not isinstance(item[IMAGE], (str, Path)):
        return f"expects one path as {IMAGE!r}, got {item[IMAGE]!r}; name one file."
    return ""


def resolve_paths(item: Mapping[str, Any], folder: Path, place: str = "item") -> Item:
    """Copies an item and makes its paths absolute. Values that are not paths are kept; `item_problems` reports them.

    Raises:
        ValueError: the item has no image path.
    """
    if text := image_problem(item):
        raise ValueError(f"{place} {text}")
    return resolve_masks(item, folder) | {IMAGE: str(folder / item[IMAGE])}


def resolve_masks(item: Mapping[str, Any], folder: Path) -> Item:
    """Copies an item, makes the paths of its masks and its label map absolute, and drops null masks."""
    resolved = dict(item)
    if isinstance(item.get(LABEL_MAP), (str, Path)):
        resolved[LABEL_MAP] = str(folder / item[LABEL_MAP])
    if isinstance(item.get(MASKS), Mapping):
        masks = {name: mask for name, mask in item[MASKS].items() if mask is not None}
        resolved[MASKS] = {n: str(folder / m) if isinstance(m, (str, Path)) else m for n, m in masks.items()}
    return resolved


def list_some(lines: Sequence[str], most: int = 20) -> str:
    """Returns the first `most` lines, indented, and the number of remaining lines.

    Example:
        >>> print(list_some(["a", "b", "c"], most=2))
          a
          b
          ... and 1 more
    """
    rest = [f"... and {len(lines) - most:,} more"] if len(lines) > most else []
    return "\n".join(f"  {line}" for line in [*lines[:most], *rest])


def save_datalist(datalist: Mapping[str, Any], path: str | Path) -> Path:
    """Writes a datalist, creates its folder if necessary, and returns the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(datalist, indent=1) + "\n", encoding="utf-8")
    return path
