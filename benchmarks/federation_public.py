"""Real regimes of the federation study: public sets as hospitals with different annotations.

- `real_chest`: V7's lung masks at three hospitals by source; Kermany's classes; NIH's classes and boxes; a set of lung
  and opacity masks with boxes.
- `real_mammograms`: mini-MIAS's pathology and density; CESM's malignant images with outlines; CESM's craniocaudal views
  with outlines and pathology.
The seed decides which patients train; sets that share patients are split together. Patients of a set's own test split
are tested in every seed; of sets without one, a third of the patients, by seed.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from federation_data import Data, cached, join, load_items
from federation_worlds import Images, World, chest_tasks
from torch import Tensor

from mtmedformer_monai.data import convert_dataset, load_datalist
from mtmedformer_monai.data.datalist import SECTIONS
from mtmedformer_monai.data.image_size import read_image_size
from mtmedformer_monai.data.public.drawn_masks import save_mask
from mtmedformer_monai.data.public.label_table import SECTION_OF_SPLIT, Row, read_label_table
from mtmedformer_monai.data.public.sound_boxes import corners_of, sound_boxes
from mtmedformer_monai.tasks import ClassificationTask, DetectionTask, SegmentationTask
from mtmedformer_monai.tasks.base import Task

Items = list[dict[str, Any]]
SECTION, SET_SEED = "section", 0
MOST_READ = {"training": 300, "validation": 60, "test": 130}
"""Largest number of images read per section of a set."""
TEST_SHARE, VALIDATION_SHARE = 1 / 3, 1 / 6
"""Shares of the patients: of sets without a test split, and of the patients that are not tested."""


@dataclass(frozen=True)
class Hospital:
    """Images of one hospital.

    Attributes:
        read: returns the items of its set, with `section` and `patient_id`, from the folders of all sets and the cache.
        tasks: that it annotates.
        patients: name of the group of sets that share patients.
        sites: values of the items' `site` that belong to it; empty for all, None for those of no other hospital.
        most: largest number of training images.
    """

    read: Callable[[Path, Path], Items]
    tasks: tuple[str, ...]
    patients: str
    sites: tuple[str, ...] | None = ()
    most: int = 60


def converted(converter: str, folder: str, data: Path, cache: Path) -> Items:
    """Returns the items of a set that a converter of the package reads.

    Args:
        converter: its name.
        folder: of the set, in `data`.
        data: folder of the public sets.
        cache: folder for the converted datalist.
    """
    path = convert_dataset(converter, data / folder, cache / f"{converter}.json")
    return [{**item, SECTION: section} for section in SECTIONS for item in load_datalist(path, section)]


def _opacities(data: Path, cache: Path) -> Items:
    return opacity_items(data / "cxr_covid_gb_opacity", cache)


def opacity_items(folder: Path, cache: Path) -> Items:
    """Returns the items of the set with masks and boxes of opacities.

    Args:
        folder: of the set.
        cache: folder for empty masks.
    """
    columns = ["mask_lung", "mask_opacity", "opacity_boxes_xywh", "patient_id"]
    return [_opacity_item(row, folder, cache) for row in read_label_table(folder, columns)]


def _opacity_item(row: Row, folder: Path, cache: Path) -> dict[str, Any]:
    masks = {"lung": folder / row["mask_lung"], "opacity": _mask_of(row, "mask_opacity", folder, cache)}
    return _item(row, folder) | {"masks": _strings(masks), "boxes": {"opacity": _boxes(row["opacity_boxes_xywh"])}}


def without_section(item: Mapping[str, Any]) -> dict[str, Any]:
    """Returns an item without the section of its own set."""
    return {key: value for key, value in item.items() if key != SECTION}


def all_tested(items: Items, path: Path) -> Path:
    """Writes a datalist that tests all items; the other lists have one item, because they must not be empty."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = [without_section(item) for item in items]
    path.write_text(json.dumps({"training": kept[:1], "validation": kept[:1], "test": kept}))
    return path


def lesion_items(folder: str, has_normal: bool, data: Path, cache: Path) -> Items:
    """Returns CESM's items; images that are neither normal nor outlined have no masks.

    Args:
        folder: of the set, in `data`.
        has_normal: whether the set has all classes of pathology.
        data: folder of the public sets.
        cache: folder for empty masks.
    """
    columns = ["mask", "label", "lesion_boxes_xywh", "patient_id", "laterality", "view"]
    rows = read_label_table(data / folder, columns)
    return [_lesion_item(row, data / folder, has_normal, cache) for row in rows if not row.get("duplicate_of")]


def _lesion_item(row: Row, folder: Path, has_normal: bool, cache: Path) -> dict[str, Any]:
    item = _item(row, folder) | {"laterality": row["laterality"], "view": row["view"]}
    label = row["label"].lower()
    if has_normal:
        item["labels"] = {"pathology": label}
    if row["mask"] or label == "normal":
        item["masks"] = _strings({"lesion": _mask_of(row, "mask", folder, cache)})
        item["boxes"] = {"lesion": _boxes(row["lesion_boxes_xywh"])}
    return item


def _item(row: Row, folder: Path) -> dict[str, Any]:
    image = folder / row["image"]
    patient = row["patient_id"] or image.stem
    return {"image": str(image), "patient_id": patient, SECTION: SECTION_OF_SPLIT[row["split"]]}


def _mask_of(row: Row, column: str, folder: Path, cache: Path) -> Path:
    """Returns the path of a row's mask, which is empty if the row has none."""
    if row[column]:
        return folder / row[column]
    size = read_image_size(folder / row["image"])
    path = cache / f"empty_{size[0]}_{size[1]}.png"
    return path if path.is_file() else save_mask(np.zeros(size, dtype=bool), path)


def _boxes(text: str) -> list[list[float]]:
    return sound_boxes([corners_of(*box) for box in json.loads(text or "[]")], None) or []


def _strings(paths: Mapping[str, Path]) -> dict[str, str]:
    return {name: str(path) for name, path in paths.items()}


V7 = partial(converted, "v7_lungs", "cxr_covid_v7_lung")
CHEST = {
    "v7_github": Hospital(V7, ("lung",), "covid", ("github.com",)),
    "v7_radiopaedia": Hospital(V7, ("lung",), "covid", ("radiopaedia.org",)),
    "v7_others": Hospital(V7, ("lung",), "covid", None),
    "kermany": Hospital(partial(converted, "kermany", "cxr_kermany_224"), ("finding",), "kermany"),
    "nih": Hospital(partial(converted, "nih_chestxray14", "cxr_nih_pneumonia"), ("finding", "opacity_box"), "nih"),
    "opacity": Hospital(_opacities, ("lung", "opacity", "opacity_box"), "covid"),
}
LESION = ("lesion", "lesion_box")
MAMMOGRAMS = {
    "mias": Hospital(partial(converted, "mini_mias", "mammo_mias"), ("pathology", "mias_density"), "mias", most=100),
    "cesm_malignant": Hospital(partial(lesion_items, "mammo_cesm_mal512", False), LESION, "cesm", most=100),
    "cesm_cc": Hospital(partial(lesion_items, "mammo_cesm_cc", True), (*LESION, "pathology"), "cesm"),
}


def mammogram_tasks() -> list[Task]:
    """Returns the tasks of the mammograms."""
    return [
        SegmentationTask("lesion", ["lesion"], batch_dice=True),
        DetectionTask("lesion_box", ["lesion"]),
        ClassificationTask("pathology", ["normal", "benign", "malignant"], dropout=0.0),
        ClassificationTask("mias_density", ["fatty", "glandular", "dense"], "ordinal", dropout=0.0),
    ]


def _world(
    hospitals: Mapping[str, Hospital], chest: bool, seed: int, image_size: int, cache: Path, data: Path
) -> World:
    tasks = chest_tasks() if chest else mammogram_tasks()
    size = (image_size, image_size) if chest else (image_size * 3 // 2, image_size)
    named = {site for each in hospitals.values() for site in each.sites or ()}

    def make(name: str) -> tuple[Items, Data]:
        items = _of_hospital(hospitals[name], named, data, cache)
        return items, load_items(items, tasks, size, mammograms=not chest)

    sets = {name: cached(cache / f"{name}_{image_size}.pt", partial(make, name)) for name in hospitals}
    sections = _sections({name: (hospitals[name].patients, items) for name, (items, _) in sets.items()}, seed)
    parts: dict[str, dict[str, Data]] = {section: {} for section in SECTIONS}
    for name, (_, loaded) in sets.items():
        shown = loaded.keep(hospitals[name].tasks)
        for section in SECTIONS:
            rows = [row for row, each in enumerate(sections[name]) if each == section]
            most = hospitals[name].most if section == "training" else len(rows)
            parts[section][name] = shown.take(random.Random(seed).sample(rows, min(most, len(rows))))
    return World(tasks, parts["training"], _images(parts["validation"]), _images(parts["test"]))


def _of_hospital(hospital: Hospital, named: set[str], data: Path, cache: Path) -> Items:
    """Returns the annotated items of a hospital, a fixed sample of each section."""
    items = hospital.read(data, cache)
    if hospital.sites is None:
        items = [item for item in items if item.get("site") not in named]
    elif hospital.sites:
        items = [item for item in items if item.get("site") in hospital.sites]
    if hospital.tasks == ("lung",):
        items = [item for item in items if item.get("masks")]
    chosen = []
    for section, most in MOST_READ.items():
        each = [item for item in items if item[SECTION] == section]
        chosen += random.Random(SET_SEED).sample(each, min(most, len(each)))
    return chosen


def _sections(sets: Mapping[str, tuple[str, Items]], seed: int) -> dict[str, list[str]]:
    """Returns the section of each item, the same for all images of a patient in all sets that share patients."""
    chosen: dict[tuple[str, str], str] = {}
    for group in sorted({group for group, _ in sets.values()}):
        tested, others = set(), set()
        for own, items in sets.values():
            if own == group:
                test = {str(item["patient_id"]) for item in items if item[SECTION] == "test"}
                mine = sorted({str(item["patient_id"]) for item in items})
                random.Random(seed).shuffle(mine)
                tested |= test or set(mine[: round(TEST_SHARE * len(mine))])
                others |= set(mine)
        rest = sorted(others - tested)
        random.Random(seed + 1).shuffle(rest)
        validation = set(rest[: round(VALIDATION_SHARE * len(rest))])
        for patient in others:
            section = "test" if patient in tested else "validation" if patient in validation else "training"
            chosen[group, patient] = section
    return {name: [chosen[group, str(item["patient_id"])] for item in items] for name, (group, items) in sets.items()}


def _images(parts: Mapping[str, Data]) -> Images:
    """Joins the hospitals' images."""
    rows: dict[str, Tensor] = {}
    start = 0
    for name, part in parts.items():
        rows[name] = torch.arange(start, start + len(part))
        start += len(part)
    return Images(join(list(parts.values())), rows)


def _real(hospitals: Mapping[str, Hospital], chest: bool) -> Callable[[int, int, Path, Path], World]:
    return partial(_world, hospitals, chest)


REAL: dict[str, Callable[[int, int, Path, Path], World]] = {
    "real_chest": _real(CHEST, chest=True),
    "real_mammograms": _real(MAMMOGRAMS, chest=False),
}
