"""The names of classes and structures that a network's tasks use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mtmedformer_monai.keys import BOXES, LABELS, MASKS

if TYPE_CHECKING:
    from mtmedformer_monai.transforms.load_targets import EncodesTarget


@dataclass(frozen=True)
class Vocabulary:
    """Valid names of annotations; None disables the check of that kind.

    Attributes:
        classes: {classification task: class names}.
        structures: names of mask structures.
        box_classes: names of box classes.
        tasks: tasks that encode the targets; annotations that they reject are invalid as well.
    """

    classes: Mapping[str, Sequence[str]] | None = None
    structures: Collection[str] | None = None
    box_classes: Collection[str] | None = None
    tasks: Sequence[EncodesTarget] = ()


def vocabulary_of(tasks: Sequence[EncodesTarget]) -> Vocabulary:
    """Returns the names that tasks use: classes of whole images, structures of masks, and classes of boxes."""
    return Vocabulary(
        {task.name: getattr(task, "classes", ()) for task in tasks if getattr(task, "describes_image", False)},
        [name for task in tasks for name in getattr(task, "structures", ())],
        [name for task in tasks if getattr(task, "has_boxes", False) for name in getattr(task, "classes", ())],
        tuple(tasks),
    )


def count_unused(items: Iterable[Mapping[str, Any]], known: Vocabulary) -> Counter[str]:
    """Counts the items with annotations that no task uses, by name.

    Example:
        >>> item = {"labels": {"finding": "normal", "density": "A"}, "boxes": {"nodule": []}}
        >>> count_unused([item, item], Vocabulary({"finding": ["normal"]}, [], ["opacity"]))
        Counter({"label 'density'": 2, "boxes of 'nodule'": 2})
    """
    known_names = {LABELS: known.classes, MASKS: known.structures, BOXES: known.box_classes}
    formats = {LABELS: "label {!r}", MASKS: "mask {!r}", BOXES: "boxes of {!r}"}
    return Counter(
        formats[key].format(name)
        for item in items
        for key, names in known_names.items()
        if names is not None
        for name in unused_names(item.get(key), names)
    )


def unused_names(annotations: Any, known: Collection[str]) -> list[str]:
    """Returns the names of non-null annotations that no task uses."""
    if not isinstance(annotations, Mapping):
        return []
    return [name for name, value in annotations.items() if value is not None and name not in known]
