"""Checks a datalist against its files and lists all problems."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import numpy as np

from mtmedformer_monai.keys import IMAGE, LABELS, PATIENT_ID

from .datalist import SECTIONS, image_problem, read_datalist, resolve_masks, resolve_paths
from .duplicates import find_duplicates
from .findings import ANNOTATION, COHORT, UNUSED, Finding, Kind
from .item_problems import examine_item, num_threads
from .loaders import Loaders, find_loaders
from .missing import id_text
from .study_problems import study_problems
from .vocabulary import Vocabulary, unused_names, vocabulary_of


@dataclass(frozen=True)
class Problem:
    """A problem of a datalist item.

    Attributes:
        section: section of the datalist.
        index: index of the item in the section.
        image: path of the item's image, as given in the datalist.
        text: description of the problem and its remedy.
        kind: kind of the problem, which determines how training handles it; see `findings.py`.
    """

    section: str
    index: int
    image: str
    text: str
    kind: Kind = ANNOTATION

    def __str__(self) -> str:
        return f"{self.section}[{self.index}] {self.image}: {self.text}"


@dataclass
class _Entry:
    """A datalist item with the findings collected so far."""

    section: str
    index: int
    item: Mapping[str, Any]
    findings: list[Finding] = field(default_factory=list)

    @property
    def place(self) -> str:
        return f"{self.section}[{self.index}]"


def check_datalist(
    path: str | Path,
    classes: Mapping[str, Sequence[str]] | None = None,
    structures: Collection[str] | None = None,
    box_classes: Collection[str] | None = None,
    transforms: Sequence[Any] | None = None,
    decode: bool = True,
) -> list[Problem]:
    """Returns all problems of a datalist; the list is empty if the datalist is valid.

    Every item is first checked by `examine_item`, which training also runs at its start, and then loaded with the
    `LoadRadiographd` and `LoadTargetsd` of the training, so every item that passes can be trained on. Items are also
    checked against each other: for patients or studies in more than one section, studies with more than one patient,
    and duplicate images (by path, or by content under different names). An unknown task is reported once, at its first
    label.

    Args:
        path: path of the datalist.
        classes: {classification task: class names}; None accepts any label.
        structures: names of the mask structures; None accepts any name.
        box_classes: names of the box classes; None accepts any name.
        transforms: transforms of a training, including `LoadRadiographd` and `LoadTargetsd`, whose tasks then replace
            the names above. If None, files are loaded with the default settings.
        decode: whether to load every file. False checks headers only, which is faster but does not detect damaged
            pixel data.

    Raises:
        FileNotFoundError: the datalist does not exist.
        ValueError: the file is not a datalist.
    """
    path = Path(path)
    loaders = find_loaders(transforms)
    known = Vocabulary(classes, structures, box_classes) if transforms is None else vocabulary_of(loaders.tasks)
    datalist = read_datalist(path)
    entries = [
        _Entry(section, index, item) for section in SECTIONS for index, item in enumerate(datalist.get(section) or [])
    ]
    with ThreadPool(num_threads()) as pool:
        found = pool.map(lambda entry: _examine(entry.item, path.parent, known, loaders, decode), entries)
    for entry, findings in zip(entries, found, strict=True):
        entry.findings.extend(findings)
    _compare_items([entry for entry in entries if isinstance(entry.item, Mapping)], path.parent, known)
    return [
        Problem(entry.section, entry.index, _image_name(entry.item), finding.text, finding.kind)
        for entry in entries
        for finding in entry.findings
    ]


def _examine(item: Any, folder: Path, known: Vocabulary, loaders: Loaders, decode: bool) -> list[Finding]:
    """Returns the problems of one item, including those of its files."""
    if not isinstance(item, Mapping):
        return examine_item(item, known)
    if text := image_problem(item):
        nothing = np.empty((0, 0))  # placeholder for the image, so that other problems are reported as well
        others = examine_item(resolve_masks(item, folder.resolve()) | {IMAGE: nothing}, known)
        return [Finding(ANNOTATION, f"it {text.removeprefix('of the datalist ')}"), *others]
    item = resolve_paths(item, folder.resolve())
    findings = examine_item(item, known, always_measure=True)
    if not decode or any(finding.kind != UNUSED for finding in findings):
        return findings
    return findings + loaders.try_to_load(item)


def _compare_items(entries: Sequence[_Entry], folder: Path, known: Vocabulary) -> None:
    """Adds the findings that involve more than one item."""
    if known.classes is not None:
        _note_unknown_tasks(entries, known.classes)
    _note_shared_patients(entries)
    for position, text in study_problems([(entry.section, entry.index, entry.item) for entry in entries]):
        entries[position].findings.append(Finding(COHORT, text))
    _note_duplicates(entries, folder)


def _image_name(item: Any) -> str:
    image = item.get(IMAGE) if isinstance(item, Mapping) else None
    return image if isinstance(image, str) else ""


def _note_unknown_tasks(entries: Sequence[_Entry], classes: Mapping[str, Sequence[str]]) -> None:
    """Reports each unknown task once, at its first label, with the number of labels."""
    labels = [set(unused_names(entry.item.get(LABELS), classes)) for entry in entries]
    for task in sorted(set().union(*labels)):
        first = next(entry for entry, tasks in zip(entries, labels, strict=True) if task in tasks)
        count = sum(task in tasks for tasks in labels)
        text = (
            f"label {task!r} is none of the tasks {sorted(classes)} ({count} images have it); rename or remove it, "
            "or add the task to the bundle's config."
        )
        first.findings.append(Finding(UNUSED, text))


def _note_shared_patients(entries: Sequence[_Entry]) -> None:
    """Reports patients that occur in more than one section, without disclosing the patient ID."""
    seen: dict[str, dict[str, str]] = {}
    for entry in entries:
        patient = id_text(entry.item.get(PATIENT_ID))
        if not patient:
            continue
        places = seen.setdefault(patient, {})
        others = [place for section, place in places.items() if section != entry.section]
        if others and entry.section not in places:
            text = f"its patient is also in {others[0]}; split by patient: mtmedformer datalist split."
            entry.findings.append(Finding(COHORT, text))
        places.setdefault(entry.section, entry.place)


def _note_duplicates(entries: Sequence[_Entry], folder: Path) -> None:
    paths = {index: folder / entry.item[IMAGE] for index, entry in enumerate(entries) if not image_problem(entry.item)}
    located = [index for index, file in paths.items() if _is_file(file)]
    for first, second in find_duplicates([paths[index] for index in located]):
        text = f"it is the same image as {entries[located[first]].place}; keep one of them."
        entries[located[second]].findings.append(Finding(COHORT, text))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # the name is too long, or the folder is not accessible
        return False
