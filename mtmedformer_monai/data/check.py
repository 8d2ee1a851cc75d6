"""Checks a datalist against its files, and lists all that is wrong."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mtmedformer_monai.keys import BOXES, IMAGE, LABELS, MASKS, PATIENT_ID

from .box_problems import box_problems
from .datalist import SECTIONS, read_datalist
from .duplicates import find_duplicates
from .image_size import read_image_size
from .missing import id_text
from .study_problems import study_problems, view_problems


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        section: of the datalist.
        index: of the item in it.
        image: path of its image, as the datalist has it.
        text: what is wrong, and the remedy.
    """

    section: str
    index: int
    image: str
    text: str

    def __str__(self) -> str:
        return f"{self.section}[{self.index}] {self.image}: {self.text}"


@dataclass(frozen=True)
class Vocabulary:
    """The names that a bundle's tasks know; None leaves that kind unchecked.

    Attributes:
        classes: {classification task: class names}.
        structures: of masks.
        box_classes: of boxes.
    """

    classes: Mapping[str, Sequence[str]] | None = None
    structures: Collection[str] | None = None
    box_classes: Collection[str] | None = None


@dataclass
class _Entry:
    """One item on its way through the checks."""

    section: str
    index: int
    item: Mapping[str, Any]
    texts: list[str] = field(default_factory=list)

    @property
    def place(self) -> str:
        return f"{self.section}[{self.index}]"


def check_datalist(
    path: str | Path,
    classes: Mapping[str, Sequence[str]] | None = None,
    structures: Collection[str] | None = None,
    box_classes: Collection[str] | None = None,
) -> list[Problem]:
    """Lists every problem of a datalist: an empty list is a sound one.

    Looked for: items without an image, missing and unreadable files, masks of another size than their image, names of
    labels, structures and box classes that the tasks do not know, boxes that are no boxes of the image, a laterality
    that is no side, a patient or a study in two sections, a study of two patients, an image that stands twice (by path,
    or by content under another name). A task that is unknown is told once, at its first label.

    Args:
        path: of the datalist.
        classes: {classification task: class names}; left out, any label will do.
        structures: names of masks; left out, any will do.
        box_classes: names of boxes; left out, any will do.

    Raises:
        FileNotFoundError: no datalist there.
        ValueError: it is none.
    """
    path = Path(path)
    known = Vocabulary(classes, structures, box_classes)
    datalist = read_datalist(path)
    entries = [
        _Entry(section, index, item) for section in SECTIONS for index, item in enumerate(datalist.get(section) or [])
    ]
    for entry in entries:
        entry.texts.extend(_item_problems(entry.item, path.parent, known))
    if classes is not None:
        _note_unknown_tasks(entries, classes)
    _note_shared_patients(entries)
    for position, text in study_problems([(entry.section, entry.index, entry.item) for entry in entries]):
        entries[position].texts.append(text)
    _note_duplicates(entries, path.parent)
    return [
        Problem(entry.section, entry.index, str(entry.item.get(IMAGE) or ""), text)
        for entry in entries
        for text in entry.texts
    ]


def _item_problems(item: Mapping[str, Any], folder: Path, known: Vocabulary) -> Iterator[str]:
    if not item.get(IMAGE):
        yield f"it has no {IMAGE!r}; name its file."
        return
    size, text = _size_or_problem(folder / item[IMAGE], "image")
    if text:
        yield text
    yield from _mask_problems(item.get(MASKS) or {}, folder, size, known.structures)
    yield from box_problems(item.get(BOXES) or {}, size, known.box_classes)
    yield from _label_problems(item.get(LABELS) or {}, known.classes)
    yield from view_problems(item)


def _size_or_problem(path: Path, what: str) -> tuple[tuple[int, int] | None, str]:
    if not path.is_file():
        return None, f"the {what} {path} is missing; mend the path or leave the item out."
    try:
        return read_image_size(path), ""
    except (OSError, ValueError, SyntaxError) as error:
        return None, f"the {what} cannot be read: {error}"


def _mask_problems(
    masks: Mapping[str, str | None], folder: Path, size: tuple[int, int] | None, structures: Collection[str] | None
) -> Iterator[str]:
    for structure, mask in masks.items():
        if structures is not None and structure not in structures:
            yield f"mask {structure!r} is none of the structures {sorted(structures)}; rename or leave it out."
        if mask is None:
            continue
        mask_size, text = _size_or_problem(folder / mask, f"mask of {structure!r}")
        if text:
            yield text
        if size is not None and mask_size is not None and mask_size != size:
            yield (
                f"the mask of {structure!r} has {mask_size[0]} x {mask_size[1]} rows x columns, its image "
                f"{size[0]} x {size[1]}; draw it on the image as it is."
            )


def _label_problems(labels: Mapping[str, Any], classes: Mapping[str, Sequence[str]] | None) -> Iterator[str]:
    for task, label in labels.items():
        if classes is None or label is None or task not in classes:
            continue
        names = label if isinstance(label, list) else [label]
        for name in names:
            if name not in classes[task]:
                yield f"label {task!r} expects one of {list(classes[task])}, got {name!r}; rename or leave it out."


def _note_unknown_tasks(entries: Sequence[_Entry], classes: Mapping[str, Sequence[str]]) -> None:
    """Notes a task that is not known at the first of its labels, with their number."""
    labels = [{task for task, name in (entry.item.get(LABELS) or {}).items() if name is not None} for entry in entries]
    for task in sorted(set().union(*labels) - set(classes)):
        first = next(entry for entry, tasks in zip(entries, labels, strict=True) if task in tasks)
        first.texts.append(
            f"label {task!r} is none of the tasks {sorted(classes)} ({sum(task in tasks for tasks in labels)} images "
            "have it); rename or leave it out, or add the task to the bundle's config."
        )


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
            entry.texts.append(f"its patient is in {others[0]} too; split by patient: mtmedformer datalist split.")
        places.setdefault(entry.section, entry.place)


def _note_duplicates(entries: Sequence[_Entry], folder: Path) -> None:
    located = [entry for entry in entries if entry.item.get(IMAGE) and (folder / entry.item[IMAGE]).is_file()]
    for first, second in find_duplicates([folder / entry.item[IMAGE] for entry in located]):
        located[second].texts.append(f"it is the same image as {located[first].place}; keep one of them.")
