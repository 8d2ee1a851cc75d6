"""Summarizes a datalist as a text table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mtmedformer_monai.keys import BOXES, LABELS, MASKS, PATIENT_ID, SITE, STUDY_ID

from .datalist import SECTIONS, Item, read_datalist
from .missing import id_text, is_null

Sections = dict[str, list[Item]]
Row = tuple[str, dict[str, int]]
"""Title, and counts per section; of all sections under `_ALL`, if that is not their sum."""

_ALL = "all"


def summarize_datalist(path: str | Path) -> str:
    """Returns a table with one column per section and the numbers of images, patients, studies, sites and annotations.

    A row such as `boxes opacity` counts the annotated images, including those without a box, and is followed by the
    number of boxes. A row such as `label finding` counts the labeled images, and is followed by the number of images of
    each class.

    Raises:
        FileNotFoundError: the datalist does not exist.
        ValueError: the file is not a datalist.
    """
    datalist = read_datalist(path)
    sections: Sections = {section: datalist.get(section) or [] for section in SECTIONS}
    rows = [
        _row("images", sections, len),
        _id_row("patients", sections, PATIENT_ID),
        *_study_rows(sections),
        *_site_rows(sections),
        *_mask_rows(sections),
        *_box_rows(sections),
        *_label_rows(sections),
    ]
    return _format(rows)


def _row(title: str, sections: Sections, count: Callable[[Sequence[Item]], int]) -> Row:
    return title, {section: count(items) for section, items in sections.items()}


def _id_row(title: str, sections: Sections, key: str) -> Row:
    """Returns a row of distinct IDs under a key; one that is in several sections counts once in all."""
    ids = {section: {id_text(item.get(key)) for item in items} - {""} for section, items in sections.items()}
    return title, {section: len(found) for section, found in ids.items()} | {_ALL: len(set().union(*ids.values()))}


def _study_rows(sections: Sections) -> list[Row]:
    """Returns the row with the number of studies, if any item has a study ID."""
    row = _id_row("studies", sections, STUDY_ID)
    return [row] if any(row[1].values()) else []


def _annotated(item: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """Returns the annotations of a kind, without null values, which count as missing."""
    return {name: value for name, value in (item.get(kind) or {}).items() if not is_null(value)}


def _names(sections: Sections, kind: str) -> list[str]:
    return sorted({name for items in sections.values() for item in items for name in _annotated(item, kind)})


def _having(kind: str, name: str) -> Callable[[Sequence[Item]], int]:
    return lambda items: sum(name in _annotated(item, kind) for item in items)


def _site_rows(sections: Sections) -> list[Row]:
    counts = {name: Counter(id_text(item.get(SITE)) or "unknown" for item in items) for name, items in sections.items()}
    sites = sorted({site for counter in counts.values() for site in counter})
    return [(f"site {site}", {name: counter[site] for name, counter in counts.items()}) for site in sites]


def _mask_rows(sections: Sections) -> list[Row]:
    return [_row(f"mask {name}", sections, _having(MASKS, name)) for name in _names(sections, MASKS)]


def _box_rows(sections: Sections) -> list[Row]:
    rows = []
    for name in _names(sections, BOXES):
        counts = {section: _box_counts(items, name) for section, items in sections.items()}
        rows.append((f"boxes {name}", {section: len(numbers) for section, numbers in counts.items()}))
        rows.append(("  without a box", {section: numbers.count(0) for section, numbers in counts.items()}))
        rows.append(("  boxes in all", {section: sum(numbers) for section, numbers in counts.items()}))
    return rows


def _box_counts(items: Sequence[Item], name: str) -> list[int]:
    """Returns the number of boxes on each annotated image."""
    annotated = [_annotated(item, BOXES) for item in items]
    return [len(boxes[name]) for boxes in annotated if name in boxes]


def _label_rows(sections: Sections) -> list[Row]:
    rows = []
    for task in _names(sections, LABELS):
        counts = {section: _class_counts(items, task) for section, items in sections.items()}
        rows.append(_row(f"label {task}", sections, _having(LABELS, task)))
        for name in sorted({name for counter in counts.values() for name in counter}):
            rows.append((f"  {name}", {section: counter[name] for section, counter in counts.items()}))
    return rows


def _class_counts(items: Sequence[Item], task: str) -> Counter[str]:
    labels = [_annotated(item, LABELS).get(task, []) for item in items]
    return Counter(str(name) for label in labels for name in (label if isinstance(label, list) else [label]))


def _format(rows: Sequence[Row]) -> str:
    width = max(len(title) for title, _ in rows)
    header = " " * width + "".join(f"{name:>12}" for name in (*SECTIONS, _ALL))
    lines = [
        f"{title:<{width}}"
        + "".join(f"{counts[section]:>12,}" for section in SECTIONS)
        + f"{counts.get(_ALL, sum(counts.values())):>12,}"
        for title, counts in rows
    ]
    return "\n".join([header, *lines])
