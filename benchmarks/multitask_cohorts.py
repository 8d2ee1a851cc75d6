"""Cohorts of the multi-task comparison: public sets joined, with the labels that each has, in folds by patient.

- `chest`: Kermany (finding, type), NIH (finding, boxes), V7 (finding, lung masks), and the opacity set (lung and
  opacity masks, boxes);
- `mammograms`: mini-MIAS (pathology, density, lesions) and both parts of CESM (lesions, some with pathology).
Sets that share patients are split together, so that no patient is in two sections of a fold.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bundle_runs import CHEST, MAMMOGRAPHY, read_tasks
from federation_public import Items, converted, lesion_items, opacity_items, without_section
from real_mammograms import DENSITY

from mtmedformer_monai.data.datalist import SECTIONS

SAMPLE_SEED = 0
VALIDATION_SHARE = 1 / 8
"""Share of the patients of a fold that are not tested."""


@dataclass(frozen=True)
class Source:
    """A public set.

    Attributes:
        read: returns its items with absolute paths, from the folder of all sets and a folder for written files.
        patients: name of the group of sets that share patients.
    """

    read: Callable[[Path, Path], Items]
    patients: str


@dataclass(frozen=True)
class Cohort:
    """Joined sets.

    Attributes:
        bundle: that is trained.
        tasks: configs of its tasks.
        sources: {name: set}.
        size: default rows and columns of the network's input.
        metrics: of the tables.
    """

    bundle: Path
    tasks: list[dict[str, Any]]
    sources: Mapping[str, Source]
    size: tuple[int, int]
    metrics: tuple[str, ...]


def _public(converter: str, folder: str, patients: str) -> Source:
    return Source(partial(converted, converter, folder), patients)


COHORTS = {
    "chest": Cohort(
        CHEST,
        read_tasks(CHEST),
        {
            "kermany": _public("kermany", "cxr_kermany_224", "kermany"),
            "nih": _public("nih_chestxray14", "cxr_nih_pneumonia", "nih"),
            "v7": _public("v7_lungs", "cxr_covid_v7_lung", "covid"),
            "opacity": Source(lambda data, output: opacity_items(data / "cxr_covid_gb_opacity", output), "covid"),
        },
        (128, 128),
        ("lung_dice", "opacity_dice", "opacity_box_ap", "finding_auc", "pneumonia_type_auc"),
    ),
    "mammograms": Cohort(
        MAMMOGRAPHY,
        [task for task in read_tasks(MAMMOGRAPHY) if task["name"] != "breast_density"] + [DENSITY],
        {
            "mias": _public("mini_mias", "mammo_mias", "mias"),
            "cesm_malignant": Source(partial(lesion_items, "mammo_cesm_mal512", False), "cesm"),
            "cesm_cc": Source(partial(lesion_items, "mammo_cesm_cc", True), "cesm"),
        },
        (192, 128),
        ("lesion_dice", "lesion_box_ap", "pathology_auc", "mias_density_auc"),
    ),
}


def read_cohort(cohort: Cohort, data: Path, output: Path, most: int) -> dict[str, Items]:
    """Returns {set: its items}, at most `most` of each, a fixed sample.

    Args:
        cohort: to read.
        data: folder of the public sets.
        output: folder for converted datalists.
        most: largest number of items per set.
    """
    found = {}
    for name, source in cohort.sources.items():
        items = sorted(source.read(data, output), key=lambda item: str(item["image"]))
        found[name] = random.Random(SAMPLE_SEED).sample(items, min(most, len(items)))
    return found


def make_folds(cohort: Cohort, sets: Mapping[str, Items], folds: int, seed: int = 0) -> list[dict[str, Items]]:
    """Returns the sections of each fold; every patient is tested once.

    Args:
        cohort: of the items.
        sets: {set: items}.
        folds: number of folds.
        seed: of the assignment of patients.
    """
    sections = []
    for fold in range(folds):
        parts: dict[str, Items] = {section: [] for section in SECTIONS}
        for group in sorted({source.patients for source in cohort.sources.values()}):
            items = [item for name in sets if cohort.sources[name].patients == group for item in sets[name]]
            section_of = _sections_of_patients([str(item["patient_id"]) for item in items], fold, folds, seed)
            for item in items:
                parts[section_of[str(item["patient_id"])]].append(without_section(item))
        sections.append(parts)
    return sections


def _sections_of_patients(patients: Sequence[str], fold: int, folds: int, seed: int) -> dict[str, str]:
    names = sorted(set(patients))
    random.Random(seed).shuffle(names)
    tested = set(names[fold::folds])
    others = [name for name in names if name not in tested]
    validation = set(others[: round(VALIDATION_SHARE * len(others))])
    return {name: "test" if name in tested else "validation" if name in validation else "training" for name in names}
