"""Joins the datalists of several datasets or sites into one cohort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mtmedformer_monai.keys import PATIENT_ID, SITE, STUDY_ID

from .class_conflicts import CLASSES, merge_classes
from .datalist import SECTIONS, Datalist, Item, read_datalist, save_datalist
from .missing import id_text, is_missing
from .rebase import datalist_path, rebase_item


def join_datalists(sources: Mapping[str, str | Path] | Sequence[str | Path], output: str | Path) -> Path:
    """Writes one datalist that contains the items of all sources, section by section.

    Items without a `site` get the source's name as their site. Patient and study IDs are prefixed with the source's
    name, so that equal IDs of different sources remain distinct. Missing annotations remain missing. Classes that the
    sources declare under `classes` are merged.

    Args:
        sources: {name: path of a datalist}; or paths, which are named after the datalist's `name`, or else after its
            file or folder.
        output: path of the datalist, or a folder in which to write `datalist.json`. Paths of images in its folder are
            written relative to it, all others as absolute paths.

    Returns:
        The path of the datalist written.

    Raises:
        FileNotFoundError: a datalist does not exist.
        ValueError: a datalist contains no section, two sources have the same name, or their classes are incompatible.
    """
    named = _named(sources)
    path = datalist_path(output)
    datalists = {name: read_datalist(source) for name, source in named.items()}
    joined: Datalist = {"name": path.parent.name, "sources": {}, CLASSES: merge_classes(datalists)}
    joined |= {section: [] for section in SECTIONS}
    for name, datalist in datalists.items():
        joined["sources"][name] = {key: value for key, value in datalist.items() if isinstance(value, str)}
        for section in SECTIONS:
            for item in datalist.get(section) or []:
                joined[section].append(_from_source(rebase_item(item, named[name].parent, path.parent), name))
    return save_datalist(joined, path)


def _named(sources: Mapping[str, str | Path] | Sequence[str | Path]) -> dict[str, Path]:
    if isinstance(sources, Mapping):
        return {name: Path(source) for name, source in sources.items()}
    named: dict[str, Path] = {}
    for source in map(Path, sources):
        name = _name_of(source, read_datalist(source))
        if name in named:
            raise ValueError(
                f"{named[name]} and {source} are both named {name!r}; give them different names with {{site: path}} "
                "(on the command line: SITE=DATALIST)."
            )
        named[name] = source
    return named


def _name_of(path: Path, datalist: Mapping[str, Any]) -> str:
    return str(datalist.get("name") or (path.resolve().parent.name if path.stem == "datalist" else path.stem))


def _from_source(item: Item, name: str) -> Item:
    item[SITE] = name if is_missing(item.get(SITE)) else item[SITE]
    for key in (PATIENT_ID, STUDY_ID):
        if text := id_text(item.pop(key, None)):
            item[key] = f"{name}/{text}"
    return item
