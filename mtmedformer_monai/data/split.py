"""Splits items into sections by patient: all images of a patient come to one section."""

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
    """Splits items so that sections hold their fractions of the images, and no patient stands in two.

    Patients are shuffled, ordered by stratum, and dealt one by one to the section that lacks most of its share: so
    every section gets its share of each stratum too, as far as whole patients allow.

    Args:
        items: of a datalist, each with a `patient_id`.
        fractions: {section: fraction of the images}, which sum to 1; `FRACTIONS` where left out.
        seed: of the shuffle; the same items, in any order, are split the same.
        stratify_on: name of a task in `labels`; a patient's stratum is the rarest class that it carries.

    Returns:
        {section: items}, in the order given.

    Raises:
        ValueError: an item has no `patient_id`, the fractions are no fractions, a section would be empty, or no item
            has a label to stratify on.
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
        raise ValueError(f"{len(patients)} patients are too few for {empty}; give more, or set those fractions to 0.")
    return {name: [dict(item) for item in items if sections[id_text(item[PATIENT_ID])] == name] for name in fractions}


def hold_out_validation(items: Sequence[Mapping[str, Any]], stratify_on: str | None = None) -> dict[str, list[Item]]:
    """Sections training and validation, 15 % of the images, of an official training set that has no validation part.

    By patient, always the same; see `split_by_patient`.
    """
    return split_by_patient(items, {"training": 1 - HELD_OUT, "validation": HELD_OUT}, seed=0, stratify_on=stratify_on)


def split_datalist(
    path: str | Path, output: str | Path, fractions: Mapping[str, float] | None = None, **options: Any
) -> Path:
    """Writes a datalist with all items of another, split anew; see `split_by_patient` for the arguments.

    Returns:
        The path written.
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
            f"fractions expects shares of {SECTIONS} that sum to 1, got {dict(fractions)}; for example {FRACTIONS}."
        )
    return dict(fractions)


def group_by_patient(items: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """{patient: its items}.

    Raises:
        ValueError: an item has no `patient_id`, or one that only says that it is missing (NaN, 'nan', 'None').
    """
    patients: dict[str, list[Mapping[str, Any]]] = {}
    for index, item in enumerate(items):
        patient = id_text(item.get(PATIENT_ID))
        if not patient:
            raise ValueError(
                f"item {index} has no {PATIENT_ID!r}, so its images may land on both sides of a split; "
                f"give each item the pseudonym of its patient (each its own, if every image is another patient's)."
            )
        patients.setdefault(patient, []).append(item)
    return patients


def strata_of(patients: Mapping[str, Sequence[Mapping[str, Any]]], task: str) -> dict[str, str]:
    """{patient: the rarest class on its items, '' if none is labeled}.

    Raises:
        ValueError: no item has a label of the task.
    """
    classes = {patient: {name for item in group for name in _names(item, task)} for patient, group in patients.items()}
    counts = Counter(name for names in classes.values() for name in names)
    if not counts:
        raise ValueError(f"stratify_on={task!r} is in no item's {LABELS!r}; name a task that is labeled, or leave it.")
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
    """{patient: section}, each to the section that is furthest below its share of the images so far."""
    sections: dict[str, str] = {}
    held = dict.fromkeys(fractions, 0)
    for patient in order:
        total = sum(held.values()) + len(patients[patient])
        lacking = {name: fraction * total - held[name] for name, fraction in fractions.items() if fraction > 0}
        section = max(lacking, key=lambda name: lacking[name])
        sections[patient] = section
        held[section] += len(patients[patient])
    return sections
