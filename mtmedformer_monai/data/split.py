"""Splits items into sections by patient, so that all images of a patient are in the same section."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mtmedformer_monai.keys import LABELS, PATIENT_ID

from .datalist import SECTIONS, Item, read_datalist, save_datalist
from .missing import id_text, is_null
from .rebase import datalist_path, rebase_datalist

FRACTIONS = {"training": 0.7, "validation": 0.15, "test": 0.15}
HELD_OUT = 0.15


def split_by_patient(
    items: Sequence[Mapping[str, Any]],
    fractions: Mapping[str, float] | None = None,
    seed: int = 0,
    stratify_on: str | None = None,
) -> dict[str, list[Item]]:
    """Splits items by patient into sections with the given fractions of the images.

    Patients are shuffled, sorted by stratum, and assigned one by one to the section that is furthest below its target
    size. Each section therefore also gets its fraction of each stratum, as far as patients can be kept together.

    Args:
        items: datalist items, each with a `patient_id`.
        fractions: {section: fraction of the images}, which sum to 1; defaults to `FRACTIONS`.
        seed: random seed of the shuffle; the split does not depend on the order of the items.
        stratify_on: name of a task in `labels`; the stratum of a patient is the rarest class among its labels.

    Returns:
        {section: items}, with the items in their original order.

    Raises:
        ValueError: an item has no `patient_id`, the fractions are invalid, a section would be empty, or no item has a
            label to stratify on.
    """
    fractions = _checked(FRACTIONS if fractions is None else fractions)
    patients = group_by_patient(items)
    order = sorted(patients)
    random.Random(seed).shuffle(order)
    if stratify_on is not None:
        strata = strata_of(patients, stratify_on)
        order.sort(key=strata.__getitem__)
    sections = _partition(order, patients, fractions)
    taken = set(sections.values())
    empty = [name for name, fraction in fractions.items() if fraction > 0 and name not in taken]
    if empty:
        raise ValueError(
            f"{len(patients)} patients are too few for {empty}; provide more, or set those fractions to 0."
        )
    return {name: [dict(item) for item in items if sections[id_text(item[PATIENT_ID])] == name] for name in fractions}


def hold_out_validation(items: Sequence[Mapping[str, Any]], stratify_on: str | None = None) -> dict[str, list[Item]]:
    """Splits an official training set without a validation part by patient; 15% of the images become the validation.

    The split is deterministic; see `split_by_patient`.
    """
    return split_by_patient(items, {"training": 1 - HELD_OUT, "validation": HELD_OUT}, seed=0, stratify_on=stratify_on)


def if_labeled(items: Sequence[Mapping[str, Any]], task: str) -> str | None:
    """Returns the task to stratify on, or None if no item has a label of it, as in a subset of a dataset."""
    return task if any(_names(item, task) for item in items) else None


def split_datalist(
    path: str | Path, output: str | Path, fractions: Mapping[str, float] | None = None, **options: Any
) -> Path:
    """Splits all items of a datalist again and writes the result; see `split_by_patient` for the arguments.

    Returns:
        The path of the datalist written.
    """
    source, target = Path(path), datalist_path(output)
    datalist = read_datalist(source)
    items = [item for section in SECTIONS for item in datalist.get(section) or []]
    datalist |= {section: [] for section in SECTIONS} | split_by_patient(items, fractions, **options)
    return save_datalist(rebase_datalist(datalist, source.parent, target.parent), target)


def _checked(fractions: Mapping[str, float]) -> dict[str, float]:
    unknown = set(fractions) - set(SECTIONS)
    if unknown or abs(sum(fractions.values()) - 1) > 1e-6 or min(fractions.values()) < 0:
        raise ValueError(
            f"fractions expects numbers for {SECTIONS} that sum to 1, got {dict(fractions)}; for example {FRACTIONS}."
        )
    return dict(fractions)


def group_by_patient(items: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Groups items by patient: {patient: items}.

    Raises:
        ValueError: an item has no `patient_id`, or one that denotes a missing value (NaN, 'nan', 'None').
    """
    patients: dict[str, list[Mapping[str, Any]]] = {}
    for index, item in enumerate(items):
        patient = id_text(item.get(PATIENT_ID))
        if not patient:
            raise ValueError(
                f"item {index} has no {PATIENT_ID!r}, so its patient could end up in several sections; "
                f"give each item the pseudonym of its patient (a different one per image, if all patients differ)."
            )
        patients.setdefault(patient, []).append(item)
    return patients


def strata_of(patients: Mapping[str, Sequence[Mapping[str, Any]]], task: str) -> dict[str, str]:
    """Returns {patient: rarest class among its labels, or '' if it has none}.

    Raises:
        ValueError: no item has a label of the task.
    """
    classes = {patient: {name for item in group for name in _names(item, task)} for patient, group in patients.items()}
    counts = Counter(name for names in classes.values() for name in names)
    if not counts:
        raise ValueError(f"stratify_on={task!r} is in no item's {LABELS!r}; specify a task with labels, or omit it.")
    return {
        patient: min(names, key=lambda name: (counts[name], name)) if names else ""
        for patient, names in classes.items()
    }


def _names(item: Mapping[str, Any], task: str) -> list[str]:
    label = (item.get(LABELS) or {}).get(task)
    names = label if isinstance(label, (list, tuple)) else [label]
    return [str(name) for name in names if not is_null(name)]


def _partition(
    order: Sequence[str], patients: Mapping[str, Sequence[Mapping[str, Any]]], fractions: Mapping[str, float]
) -> dict[str, str]:
    """Assigns each patient, in order, to the section furthest below its target size: {patient: section}."""
    sections: dict[str, str] = {}
    held = dict.fromkeys(fractions, 0)
    for patient in order:
        total = sum(held.values()) + len(patients[patient])
        lacking = {name: fraction * total - held[name] for name, fraction in fractions.items() if fraction > 0}
        section = max(lacking, key=lambda name: lacking[name])
        sections[patient] = section
        held[section] += len(patients[patient])
    return sections
