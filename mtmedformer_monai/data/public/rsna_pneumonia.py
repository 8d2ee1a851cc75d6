"""Converter of the RSNA Pneumonia Detection Challenge: boxes around opacities, normal images, and those in between.

Source: Shih et al., "Augmenting the National Institutes of Health Chest Radiograph Dataset with Expert Annotations of
Possible Pneumonia", Radiology: Artificial Intelligence 1 (2019), e180041, https://doi.org/10.1148/ryai.2019180041;
files at https://www.kaggle.com/c/rsna-pneumonia-detection-challenge (stage 2). 26,684 images of ChestX-ray14.

License: by the challenge's rules for research and education, not for profit; name RSNA and the NIH Clinical Center.

Layout (Kaggle's stage 2, or stage 1 likewise): `stage_2_train_labels.csv`, `stage_2_detailed_class_info.csv`,
`stage_2_train_images/<patientId>.dcm`; or PNG copies of the images, which boxes are
scaled to, with one table `stage2_train_metadata.csv`. The test images have no public labels, and are left out.

- `finding`: 'Lung Opacity' is 'pneumonia', 'Normal' is 'normal'; 'No Lung Opacity / Not Normal' is neither.
- `opacity` boxes: as drawn; the other two classes have none there. An image whose rows are missing or empty, or
  contradict its class, has no annotation.

What the set calls a patient is an image. With `pneumonia-challenge-dataset-mappings_2018.json` of RSNA's own page
(https://www.rsna.org/rsnai/ai-image-challenge/rsna-pneumonia-detection-challenge-2018) in the folder, images are split
by the patients of ChestX-ray14; without it, by image, and a patient may stand in two sections. No official split of
what is labeled: 70 / 15 / 15. Don't join it with `nih_chestxray14`, which holds the same images.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from mtmedformer_monai.data.datalist import Datalist, Item
from mtmedformer_monai.data.image_size import read_image_size
from mtmedformer_monai.data.missing import id_text
from mtmedformer_monai.data.split import split_by_patient

from .label_table import read_choice, read_number, read_table
from .set_files import PICTURES, RADIOGRAPHS, SetFolder, place_of
from .sound_boxes import Box, corners_of, sound_boxes

logger = logging.getLogger(__name__)

CLASS_TABLE, BOX_TABLE = "stage_2_detailed_class_info.csv", "stage_2_train_labels.csv"
OPAQUE = "Lung Opacity"
FINDINGS = {OPAQUE: "pneumonia", "Normal": "normal", "No Lung Opacity / Not Normal": None}
MAPPING = "pneumonia-challenge-dataset-mappings_2018.json"
CLASS_COLUMNS = ("patientId", "class")
BOX_COLUMNS = ("patientId", "x", "y", "width", "height", "Target")
ORIGINAL_SIZE = (1024, 1024)
TARGETS = {"1": True, "0": False, "true": True, "false": False}
RELEASE = (
    "stage_2_train_labels.csv, stage_2_detailed_class_info.csv and stage_2_train_images/*.dcm of Kaggle (or stage 1's)"
)


def convert(folder: Path) -> Datalist:
    """Makes the datalist.

    Args:
        folder: of the set.

    Returns:
        Datalist with paths relative to `folder`.

    Raises:
        FileNotFoundError: a table or the images are missing.
        ValueError: a table lacks a column, or names another class or target.
    """
    files = SetFolder(folder, RELEASE)
    classes = _read_classes(files.table_path(r"stage_?[12]_(detailed_class_info|train_metadata)", CLASS_TABLE))
    boxes = _read_boxes(files.table_path(r"stage_?[12]_train_(labels|metadata)", BOX_TABLE))
    found = files.images("", RADIOGRAPHS, "stage_2_train_images/*.dcm")
    names = classes.keys() | boxes.keys()
    images = {name: path for name, path in found.items() if name in names}
    files.log_present(len(images), len(names))
    patients = _read_patients(folder / MAPPING)
    is_shrunk = _is_shrunk(images, boxes)
    items = [
        _make_item(path, folder, patients.get(name, name), classes.get(name, ""), boxes.get(name, []), is_shrunk)
        for name, path in images.items()
    ]
    if silent := sum("boxes" not in item for item in items):
        logger.warning("%d images have no row of boxes, or one that contradicts their class: not annotated.", silent)
    sections = split_by_patient(items, stratify_on="finding")
    return {"name": "rsna_pneumonia", "licence": "challenge rules: non-profit", **sections}


def _make_item(path: Path, folder: Path, patient: str, kind: str, rows: Sequence[Box | None], is_shrunk: bool) -> Item:
    """Item of an image; without boxes where its rows say nothing of them, or something else than its class."""
    item: Item = {"image": place_of(path, folder), "patient_id": patient}
    if finding := FINDINGS.get(kind):
        item["labels"] = {"finding": finding}
    given = [box for box in rows if box is not None]
    if not rows or (kind and bool(given) != (kind == OPAQUE)):
        return item
    size = _size_of(path) if given else None
    boxes = sound_boxes(given, ORIGINAL_SIZE if is_shrunk else size)
    if is_shrunk and boxes and size:
        scales = (size[1] / ORIGINAL_SIZE[1], size[0] / ORIGINAL_SIZE[0]) * 2
        boxes = sound_boxes(([x * scale for x, scale in zip(box, scales, strict=True)] for box in boxes), size)
    return item if boxes is None else item | {"boxes": {"opacity": boxes}}


def _is_shrunk(images: Mapping[str, Path], boxes: Mapping[str, Sequence[Box | None]]) -> bool:
    """Whether the images are PNG copies smaller than the originals: most of those with boxes are left by one."""
    leaving = []
    for name, path in images.items():
        reach = [max(box[2:]) for box in boxes.get(name, []) if box is not None]
        if reach and path.suffix.lower() in PICTURES and (size := _size_of(path)):
            leaving.append(max(reach) > max(size))
    return 2 * sum(leaving) > len(leaving)


def _size_of(path: Path) -> tuple[int, int] | None:
    """The size that boxes are clipped to; a file that cannot be read is the reader's to report."""
    try:
        return read_image_size(path)
    except (OSError, ValueError):
        return None


def _read_classes(path: Path) -> dict[str, str]:
    """{image: class, or '' where its row says none}."""
    rows = read_table(path, CLASS_COLUMNS)
    return {
        row["patientId"]: read_choice(row["class"], FINDINGS, "classes", path) if row["class"] else "" for row in rows
    }


def _read_boxes(path: Path) -> dict[str, list[Box | None]]:
    """{image: its rows: a box, out of corner, width and height, or None where the row says that there is none}.

    An image whose target or box is left empty has no row here: it is not annotated.
    """
    boxes: dict[str, list[Box | None]] = {}
    unknown = set()
    for row in read_table(path, BOX_COLUMNS):
        numbers = [read_number(row, name, path) for name in BOX_COLUMNS[1:5]]
        known = [number for number in numbers if number is not None]
        target = _read_target(row["Target"], path)
        if target is None or (target and len(known) < 4):
            unknown.add(row["patientId"])
        else:
            boxes.setdefault(row["patientId"], []).append(corners_of(*known) if target else None)
    return {name: listed for name, listed in boxes.items() if name not in unknown} | {name: [] for name in unknown}


def _read_target(text: str, path: Path) -> bool | None:
    """Whether there is an opacity; pandas writes 1 as 1.0 or True; None where the cell is empty."""
    return TARGETS[read_choice(id_text(text), TARGETS, "targets", path)] if text else None


def _read_patients(path: Path) -> dict[str, str]:
    """{image: patient of ChestX-ray14}, whose image names begin with it: 00000013_005.png."""
    if not path.is_file():
        logger.warning("%s is not there: images are split one by one, not by patient.", path.name)
        return {}
    entries = json.loads(path.read_text(encoding="utf-8"))
    return {entry["subset_img_id"]: str(int(entry["img_id"].split("_")[0])) for entry in entries}
