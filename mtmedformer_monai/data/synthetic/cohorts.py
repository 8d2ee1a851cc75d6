"""The kinds of cohorts that we generate, by name."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

COHORTS = {
    "chest": ("chest.cohort", "make_chest_cohort"),
    "mammography": ("mammography.cohort", "make_mammography_cohort"),
}
"""Kind to module and function."""


def make_cohort(kind: str, folder: str | Path, num_patients: int, image_size: int, seed: int) -> Path:
    """Makes a cohort of a kind.

    Args:
        kind: one of `COHORTS`.
        folder: to be filled.
        num_patients: of the cohort.
        image_size: of the images, as the kind's function says.
        seed: of everything.

    Returns:
        Path of the datalist.

    Raises:
        ValueError: no such kind, or sizes that the kind refuses.
    """
    if kind not in COHORTS:
        raise ValueError(f"kind expects one of {sorted(COHORTS)}, got {kind!r}.")
    module, name = COHORTS[kind]
    path: Path = getattr(import_module(f".{module}", __package__), name)(
        folder, num_patients=num_patients, image_size=image_size, seed=seed
    )
    return path
