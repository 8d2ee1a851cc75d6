"""Detects classification tasks whose classes differ between datalists that are to be joined."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mtmedformer_monai.keys import LABELS

from .datalist import SECTIONS, Datalist

CLASSES = "classes"
"""Key of a datalist for {task: ordered class names}."""

Named = tuple[str, Sequence[str]]
"""Name of a datalist and its class names."""


def merge_classes(datalists: Mapping[str, Datalist]) -> dict[str, list[str]]:
    """Merges the {task: classes} that datalists declare under `classes`, after checking that they are compatible.

    Args:
        datalists: {name: datalist}.

    Raises:
        ValueError: two datalists declare different classes, or a different order, for the same task; a datalist
            contains a label that another one's declaration lacks; or, without declarations, classes differ only in
            their spelling. The message lists all such tasks.
    """
    conflicts: list[str] = []
    merged: dict[str, list[str]] = {}
    for task in sorted({task for datalist in datalists.values() for task in _tasks(datalist)}):
        declared = [(name, known[task]) for name, d in datalists.items() if task in (known := _declared(d))]
        labeled = [(name, _labeled_classes(datalist, task)) for name, datalist in datalists.items()]
        if declared:
            merged[task] = declared[0][1]
            conflicts += _against_declaration(task, declared, labeled)
        else:
            conflicts += _spelled_differently(task, labeled)
    if conflicts:
        raise ValueError(f"classes are incompatible: {'; '.join(conflicts)}. Rename them in one of the datalists.")
    return merged


def _tasks(datalist: Datalist) -> set[str]:
    labeled = {task for item in _items(datalist) for task in item.get(LABELS) or {}}
    return labeled | set(_declared(datalist))


def _declared(datalist: Datalist) -> dict[str, list[str]]:
    """Returns the declared classes; values of another form are ignored, since the key may be used otherwise."""
    value = datalist.get(CLASSES)
    entries = value.items() if isinstance(value, Mapping) else ()
    return {task: list(classes) for task, classes in entries if isinstance(classes, (list, tuple))}


def _items(datalist: Datalist) -> Iterator[Mapping[str, Any]]:
    return (item for section in SECTIONS for item in datalist.get(section) or [])


def _labeled_classes(datalist: Datalist, task: str) -> list[str]:
    labels = [(item.get(LABELS) or {}).get(task) for item in _items(datalist)]
    listed = [label if isinstance(label, list) else [label] for label in labels if label is not None]
    return sorted({str(name) for names in listed for name in names})


def _against_declaration(task: str, declared: Sequence[Named], labeled: Sequence[Named]) -> Iterator[str]:
    first, classes = declared[0]
    for name, others in declared[1:]:
        if others != classes:
            yield f"{task!r} has {classes} in {first}, {others} in {name}"
    for name, others in labeled:
        unknown = [label for label in others if label not in classes]
        if unknown:
            yield f"{task!r} has {classes} in {first}, but {name} labels {unknown}"


def _spelled_differently(task: str, labeled: Sequence[Named]) -> Iterator[str]:
    seen: dict[str, tuple[str, str]] = {}
    for name, classes in labeled:
        for label in classes:
            spelled, first = seen.setdefault(label.strip().casefold(), (label, name))
            if spelled != label:
                yield f"{task!r} has {spelled!r} in {first}, {label!r} in {name}"
