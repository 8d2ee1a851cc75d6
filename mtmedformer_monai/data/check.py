"""Checks a datalist against its files, and lists all that is wrong."""

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
    """One thing that is wrong.

    Attributes:
        section: of the datalist.
        index: of the item in it.
        image: path of its image, as the datalist has it.
        text: what is wrong, and the remedy.
        kind: decides what a training does about it, see `findings.py`.
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
    """One item on its way through the checks."""

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
    """Lists every problem of a datalist: an empty list is a sound one.

    Every item is examined by `examine_item`, as a training examines it at its start, and then loaded by the training's
    own `LoadRadiographd` and `LoadTargetsd`: what passes is trained on. Problems between items are looked for as well:
    a patient or a study in two sections, a study of two patients, an image that stands twice (by path, or by content
    under another name). A task that is unknown is told once, at its first label.

    Args:
        path: of the datalist.
        classes: {classification task: class names}; left out, any label will do.
        structures: names of masks; left out, any will do.
        box_classes: names of boxes; left out, any will do.
        transforms: of a training, `LoadRadiographd` and `LoadTargetsd` among them; their tasks take the place of the
            names. Left out, files are loaded with the default settings.
        decode: load every file; False examines headers alone, which is quicker and misses damaged pixels.

    Raises:
        FileNotFoundError: no datalist there.
        ValueError: it is none.
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
    """What is wrong with one item, its files included."""
    if not isinstance(item, Mapping):
        return examine_item(item, known)
    if text := image_problem(item):
        nothing = np.empty((0, 0))  # stands for the image: what else is wrong is told as well
        others = examine_item(resolve_masks(item, folder.resolve()) | {IMAGE: nothing}, known)
        return [Finding(ANNOTATION, f"it {text.removeprefix('of the datalist ')}"), *others]
    item = resolve_paths(item, folder.resolve())
    findings = examine_item(item, known, always_measure=True)
    if not decode or any(finding.kind != UNUSED for finding in findings):
        return findings
    return findings + loaders.try_to_load(item)


def _compare_items(entries: Sequence[_Entry], folder: Path, known: Vocabulary) -> None:
    """Adds what is wrong between items."""
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
    """Notes a task that is not known at the first of its labels, with their number."""
    labels = [set(unused_names(entry.item.get(LABELS), classes)) for entry in entries]
    for task in sorted(set().union(*labels)):
        first = next(entry for entry, tasks in zip(entries, labels, strict=True) if task in tasks)
        count = sum(task in tasks for tasks in labels)
        text = (
            f"label {task!r} is none of the tasks {sorted(classes)} ({count} images have it); rename or leave it out, "
            "or add the task to the bundle's config."
        )
        first.findings.append(Finding(UNUSED, text))


def _note_shared_patients(entries: Sequence[_Entry]) -> None:
    """Notes, at every later section, where the patient was met before; the id itself is not told."""
    seen: dict[str, dict[str, str]] = {}
    for entry in entries:
        patient = id_text(entry.item.get(PATIENT_ID))
        if not patient:
            continue
        places = seen.setdefault(patient, {})
        others = [place for section, place in places.items() if section != entry.section]
        if others and entry.section not in places:
            text = f"its patient is in {others[0]} too; split by patient: mtmedformer datalist split."
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
    except OSError:  # a name that is too long, or a folder that must not be entered
        return False
