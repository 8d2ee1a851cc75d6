"""Joins datalists of several sets or sites into one cohort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mtmedformer_monai.keys import PATIENT_ID, SITE

from .datalist import SECTIONS, Datalist, Item, read_datalist, save_datalist
from .rebase import datalist_path, rebase_item


def join_datalists(sources: Mapping[str, str | Path] | Sequence[str | Path], output: str | Path) -> Path:
    """Writes one datalist with the items of all, section by section.

    Items that name no `site` get the source's name for it. Patient ids are prefixed by it, so that two sources'
    patient 1 stay two. What a source does not annotate stays not annotated.

    Args:
        sources: {name: path of a datalist}; or paths, named by the datalist's own `name`, or else its file or folder.
        output: path of the datalist, or a folder for `datalist.json`. Images below its folder are written relative
            to it, others absolute.

    Returns:
        The path written.

    Raises:
        FileNotFoundError: a datalist is missing.
        ValueError: one holds no section, or two sources have one name.
    """
    named = _named(sources)
    path = datalist_path(output)
    joined: Datalist = {"name": path.parent.name, "sources": {}}
    joined |= {section: [] for section in SECTIONS}
    for name, source in named.items():
        datalist = read_datalist(source)
        joined["sources"][name] = {key: value for key, value in datalist.items() if isinstance(value, str)}
        for section in SECTIONS:
            for item in datalist.get(section) or []:
                joined[section].append(_from_source(rebase_item(item, source.parent, path.parent), name))
    return save_datalist(joined, path)


def _named(sources: Mapping[str, str | Path] | Sequence[str | Path]) -> dict[str, Path]:
    if isinstance(sources, Mapping):
        return {name: Path(source) for name, source in sources.items()}
    named: dict[str, Path] = {}
    for source in map(Path, sources):
        name = _name_of(source, read_datalist(source))
        if name in named:
            raise ValueError(f"{named[name]} and {source} are both named {name!r}; name them: {{site: path}}.")
        named[name] = source
    return named


def _name_of(path: Path, datalist: Mapping[str, Any]) -> str:
    return str(datalist.get("name") or (path.resolve().parent.name if path.stem == "datalist" else path.stem))


def _from_source(item: Item, name: str) -> Item:
    item[SITE] = item.get(SITE) or name
    if item.get(PATIENT_ID) not in (None, ""):
        item[PATIENT_ID] = f"{name}/{item[PATIENT_ID]}"
    return item
