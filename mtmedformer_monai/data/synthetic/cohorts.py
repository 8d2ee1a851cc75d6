"""The available kinds of synthetic cohorts, by name."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

COHORTS: dict[str, tuple[str, str, dict[str, str]]] = {
    "chest": ("chest.cohort", "make_chest_cohort", {}),
    "chest_varied": ("chest.cohort", "make_chest_cohort", {"style": "varied"}),
    "mammography": ("mammography.cohort", "make_mammography_cohort", {}),
    "mammography_varied": ("mammography.cohort", "make_mammography_cohort", {"style": "varied"}),
}
"""{kind: (module, function, options)} of the cohort generators."""


def make_cohort(kind: str, folder: str | Path, num_patients: int, image_size: int, seed: int) -> Path:
    """Generates a synthetic cohort.

    Args:
        kind: one of `COHORTS`.
        folder: output folder.
        num_patients: number of patients.
        image_size: image size in pixels, as defined by the kind's generator.
        seed: random seed.

    Returns:
        Path of the datalist.

    Raises:
        ValueError: the kind is unknown, or its generator rejects an argument.
    """
    if kind not in COHORTS:
        raise ValueError(f"kind expects one of {sorted(COHORTS)}, got {kind!r}.")
    module, name, options = COHORTS[kind]
    path: Path = getattr(import_module(f".{module}", __package__), name)(
        folder, num_patients=num_patients, image_size=image_size, seed=seed, **options
    )
    return path
