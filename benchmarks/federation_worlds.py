"""Regimes of the federation study: who holds which images with which annotations.

A world is fixed by its regime, seed and image size. Generated regimes, three sites of a synthetic chest cohort:
- `generated_tasks`: the sites hold equal images; one annotates masks, one boxes, one classes;
- `generated_scanner`: each site has scanners of its own, and annotates everything;
- `generated_shares`: all tasks at all sites, of 120, 60 and 20 images, of which 10, 40 and 100 % have masks, so that
  weights by the number of images contradict the number of masks.
Real regimes: see `federation_public.py`.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from federation_data import Data, cached, load_items
from torch import Tensor

from mtmedformer_monai.data import load_datalist
from mtmedformer_monai.data.datalist import SECTIONS
from mtmedformer_monai.data.sites import partition_across_sites
from mtmedformer_monai.data.synthetic.cohorts import make_cohort
from mtmedformer_monai.tasks import ClassificationTask, DetectionTask, SegmentationTask
from mtmedformer_monai.tasks.base import Task

NUM_SITES = 3
NUM_IMAGES = {"training": 180, "validation": 60, "test": 100}
SHARES = ((120, 0.1), (60, 0.4), (20, 1.0))
"""Number of images and share of them with masks, by site, in `generated_shares`."""
KINDS = {"site_1": ("lung", "opacity"), "site_2": ("opacity_box",), "site_3": ("finding",)}
"""Tasks of each site in `generated_tasks`."""


@dataclass(frozen=True)
class Images:
    """Images for evaluation.

    Attributes:
        data: of all sites together.
        rows: {site: indices of the images that are like the site's own}.
    """

    data: Data
    rows: Mapping[str, Tensor]


@dataclass(frozen=True)
class World:
    """Sites, their training data, and common images for evaluation.

    Attributes:
        tasks: of the network; without dropout, which would make methods differ by luck.
        sites: {site: its training data}.
        validation: for the choice of the learning rate.
        test: for the results.
    """

    tasks: list[Task]
    sites: dict[str, Data]
    validation: Images
    test: Images


def chest_tasks() -> list[Task]:
    """Returns the tasks of the chest bundle, except for the type of pneumonia, which has few cases."""
    return [
        SegmentationTask("lung", ["lung"]),
        SegmentationTask("opacity", ["opacity"], batch_dice=True),
        DetectionTask("opacity_box", ["opacity"]),
        ClassificationTask("finding", ["normal", "pneumonia"], "binary", dropout=0.0),
    ]


def make_world(regime: str, seed: int, image_size: int, cache: Path, data: Path | None = None) -> World:
    """Builds the world of a regime.

    Args:
        regime: one of `GENERATED`, or of `federation_public.REAL`.
        seed: of cohort and partition.
        image_size: side of the canvas in pixels.
        cache: folder for prepared images.
        data: folder of the public sets, for real regimes.

    Raises:
        ValueError: an unknown regime, or a real one without `data`.
    """
    from federation_public import REAL

    if regime in REAL:
        if data is None:
            raise ValueError(f"regime {regime!r} expects the folder of the public sets; give --data.")
        return REAL[regime](seed, image_size, cache, data)
    if regime not in GENERATED:
        raise ValueError(f"regime expects one of {[*GENERATED, *REAL]}, got {regime!r}.")
    return GENERATED[regime](*generated_cohort(seed, image_size, cache), seed)


def generated_cohort(seed: int, image_size: int, cache: Path) -> tuple[dict[str, Data], dict[str, list[int]]]:
    """Returns {section: data} of a cohort, and {section: index of each image's site by scanner}."""

    def make() -> tuple[dict[str, Data], dict[str, list[int]]]:
        with tempfile.TemporaryDirectory() as folder:
            return _generate(seed, image_size, Path(folder))

    found: tuple[dict[str, Data], dict[str, list[int]]] = cached(cache / f"cohort_{seed}_{image_size}.pt", make)
    return found


def _generate(seed: int, image_size: int, folder: Path) -> tuple[dict[str, Data], dict[str, list[int]]]:
    path = make_cohort("chest", folder, sum(NUM_IMAGES.values()), 2 * image_size, seed)
    items = [item for section in SECTIONS for item in load_datalist(path, section)]
    by_patient = {str(item["patient_id"]): item for item in items}  # one image each: no patient is in two sections
    patients = sorted(by_patient)
    random.Random(seed).shuffle(patients)
    sections, start = {}, 0
    for section, count in NUM_IMAGES.items():
        sections[section] = [by_patient[patient] for patient in patients[start : start + count]]
        start += count
    parts = partition_across_sites(sections, NUM_SITES, "site", seed)
    owner = {str(item["image"]): site for site, part in enumerate(parts) for each in SECTIONS for item in part[each]}
    size = (image_size, image_size)
    data = {section: load_items(each, chest_tasks(), size) for section, each in sections.items()}
    return data, {section: [owner[str(item["image"])] for item in each] for section, each in sections.items()}


def _by_tasks(data: dict[str, Data], scanners: dict[str, list[int]], seed: int) -> World:
    sites = {name: part.keep(KINDS[name]) for name, part in _deal(data["training"]).items()}
    return World(chest_tasks(), sites, _common(data["validation"], sites), _common(data["test"], sites))


def _by_scanner(data: dict[str, Data], scanners: dict[str, list[int]], seed: int) -> World:
    rows = {section: _rows_by_site(each) for section, each in scanners.items()}
    sites = {name: data["training"].take(each) for name, each in rows["training"].items()}
    validation, test = (Images(data[section], rows[section]) for section in ("validation", "test"))
    return World(chest_tasks(), sites, validation, test)


def _by_shares(data: dict[str, Data], scanners: dict[str, list[int]], seed: int) -> World:
    sites, start = {}, 0
    total = sum(count for count, _ in SHARES)
    for number, (count, share) in enumerate(SHARES, start=1):
        size = count * len(data["training"]) // total
        part = data["training"].take(range(start, start + size))
        for task in KINDS["site_1"]:
            part = part.hide(task, range(max(1, round(share * size)), size))
        sites[f"site_{number}"], start = part, start + size
    return World(chest_tasks(), sites, _common(data["validation"], sites), _common(data["test"], sites))


def _deal(data: Data) -> dict[str, Data]:
    return {f"site_{k + 1}": data.take(range(k, len(data), NUM_SITES)) for k in range(NUM_SITES)}


def _rows_by_site(owners: Sequence[int]) -> dict[str, Tensor]:
    return {f"site_{k + 1}": (torch.tensor(owners) == k).nonzero().flatten() for k in range(NUM_SITES)}


def _common(data: Data, sites: Mapping[str, Any]) -> Images:
    """Returns images that are like those of every site."""
    return Images(data, {name: torch.arange(len(data)) for name in sites})


GENERATED = {"generated_tasks": _by_tasks, "generated_scanner": _by_scanner, "generated_shares": _by_shares}
