"""Datalists, splits, generated cohorts, and converters of public sets.

Names load when they are first used: importing this package alone imports neither MONAI nor torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .check import Problem as Problem
    from .check import check_datalist as check_datalist
    from .chest_cohort import make_chest_cohort as make_chest_cohort
    from .converters import CONVERTERS as CONVERTERS
    from .converters import convert_dataset as convert_dataset
    from .datalist import load_datalist as load_datalist
    from .datalist import read_datalist as read_datalist
    from .datalist import save_datalist as save_datalist
    from .image_files import find_images as find_images
    from .join import join_datalists as join_datalists
    from .mammography_cohort import make_mammography_cohort as make_mammography_cohort
    from .readable_dataset import RadiographDataset as RadiographDataset
    from .split import split_by_patient as split_by_patient
    from .study_dataset import StudyDataset as StudyDataset
    from .study_dataset import make_study_dataset as make_study_dataset
    from .study_files import find_studies as find_studies
    from .summarize import summarize_datalist as summarize_datalist

# No file bears the name of what it defines: the imported file would take the place of the function.
_HOMES = {
    "CONVERTERS": "converters",
    "Problem": "check",
    "RadiographDataset": "readable_dataset",
    "StudyDataset": "study_dataset",
    "check_datalist": "check",
    "convert_dataset": "converters",
    "find_images": "image_files",
    "find_studies": "study_files",
    "join_datalists": "join",
    "load_datalist": "datalist",
    "make_chest_cohort": "chest_cohort",
    "make_mammography_cohort": "mammography_cohort",
    "make_study_dataset": "study_dataset",
    "read_datalist": "datalist",
    "save_datalist": "datalist",
    "split_by_patient": "split",
    "summarize_datalist": "summarize",
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
