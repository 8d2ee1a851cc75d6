"""The classes of the classification tasks of public datasets, as named by the converters."""

from __future__ import annotations

from collections.abc import Iterable

TASK_CLASSES: dict[str, tuple[str, ...]] = {
    "finding": ("normal", "pneumonia"),
    "pneumonia_type": ("bacterial", "viral"),
    "tuberculosis": ("absent", "present"),
    "pathology": ("normal", "benign", "malignant"),
    "breast_density": ("A", "B", "C", "D"),
    "mias_density": ("fatty", "glandular", "dense"),
    "birads": ("0", "1", "2", "3", "4", "5", "6"),
}
"""{task: classes}, in order of severity or density where applicable."""


def classes_of(tasks: Iterable[str]) -> dict[str, list[str]]:
    """Returns {task: classes} of the classification tasks among the given tasks."""
    return {task: list(TASK_CLASSES[task]) for task in tasks if task in TASK_CLASSES}
