"""Task kinds: each with its decoder, loss, activation, metric and reading of the result.

Names load when they are first used: importing this package alone imports neither MONAI nor torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import Task as Task
    from .base import TaskMetric as TaskMetric
    from .classification import ClassificationTask as ClassificationTask
    from .detection import DetectionTask as DetectionTask
    from .reconstruction import ReconstructionTask as ReconstructionTask
    from .segmentation import SegmentationTask as SegmentationTask
    from .study_task import StudyTask as StudyTask

_HOMES = {
    "ClassificationTask": "classification",
    "DetectionTask": "detection",
    "ReconstructionTask": "reconstruction",
    "SegmentationTask": "segmentation",
    "StudyTask": "study_task",
    "Task": "base",
    "TaskMetric": "base",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Imports a public name from the file that defines it (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    return __all__
