"""The classes of the tasks that public sets label, as the sets' converters name them."""

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
"""In the order of severity or density where there is one."""


def classes_of(tasks: Iterable[str]) -> dict[str, list[str]]:
    """{task: classes} of the classification tasks among those named."""
    return {task: list(TASK_CLASSES[task]) for task in tasks if task in TASK_CLASSES}
