"""Converter of the RSNA Pneumonia Detection Challenge: boxes around opacities, and normal and other abnormal images.

Source: Shih et al., "Augmenting the National Institutes of Health Chest Radiograph Dataset with Expert Annotations of
Possible Pneumonia", Radiology: Artificial Intelligence 1 (2019), e180041, https://doi.org/10.1148/ryai.2019180041;
files at https://www.kaggle.com/c/rsna-pneumonia-detection-challenge (stage 2). 26,684 images of ChestX-ray14.

License: challenge rules, for non-profit research and education; attribute RSNA and the NIH Clinical Center.

Layout (Kaggle's stage 2; stage 1 is analogous): `stage_2_train_labels.csv`, `stage_2_detailed_class_info.csv` and
`stage_2_train_images/<patientId>.dcm`; or PNG copies of the images, to whose size the boxes are scaled, with one table
`stage2_train_metadata.csv`. The test images have no public labels and are excluded.

- `finding`: 'Lung Opacity' is 'pneumonia', 'Normal' is 'normal'; 'No Lung Opacity / Not Normal' is neither.
- `opacity` boxes: the published boxes; images of the other two classes have none. Images whose rows are missing, empty,
  or inconsistent with their class are not annotated.

The `patientId` of the dataset identifies an image. If `pneumonia-challenge-dataset-mappings_2018.json` from RSNA's page
(https://www.rsna.org/rsnai/ai-image-challenge/rsna-pneumonia-detection-challenge-2018) is in the folder, images are
split by the patients of ChestX-ray14; otherwise, they are split by image, and a patient may be in several sections.
There is no official split of the labeled images: 70/15/15. Do not join it with `nih_chestxray14`, which contains the
same images.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from mtmedformer_monai.data.datalist import Datalist, Item
from mtmedformer_monai.data.image_size import read_image_size
from mtmedformer_monai.data.missing import id_text
from mtmedformer_monai.data.split import if_labeled, split_by_patient

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
    """Creates the datalist.

    Args:
        folder: dataset folder.

    Returns:
        Datalist with paths relative to `folder`.

    Raises:
        FileNotFoundError: a table or the images are missing.
        ValueError: a table lacks a column, or contains an unknown class or target.
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
        logger.warning("%d images have no boxes, or boxes that contradict their class; they are not annotated.", silent)
    sections = split_by_patient(items, stratify_on=if_labeled(items, "finding"))
    return {"name": "rsna_pneumonia", "licence": "challenge rules: non-profit", **sections}


def _make_item(path: Path, folder: Path, patient: str, kind: str, rows: Sequence[Box | None], is_shrunk: bool) -> Item:
    """Creates the item of an image; without boxes if its rows are missing or inconsistent with its class."""
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
    """Returns whether the images are downsampled PNG copies, so that boxes exceed most of the images with boxes."""
    leaving = []
    for name, path in images.items():
        reach = [max(box[2:]) for box in boxes.get(name, []) if box is not None]
        if reach and path.suffix.lower() in PICTURES and (size := _size_of(path)):
            leaving.append(max(reach) > max(size))
    return 2 * sum(leaving) > len(leaving)


def _size_of(path: Path) -> tuple[int, int] | None:
    """Returns the size to which boxes are clipped; None for unreadable files, which are reported when loaded."""
    try:
        return read_image_size(path)
    except (OSError, ValueError):
        return None


def _read_classes(path: Path) -> dict[str, str]:
    """Reads {image: class, or '' if missing}."""
    rows = read_table(path, CLASS_COLUMNS)
    return {
        row["patientId"]: read_choice(row["class"], FINDINGS, "classes", path) if row["class"] else "" for row in rows
    }


def _read_boxes(path: Path) -> dict[str, list[Box | None]]:
    """Reads {image: [box, or None for a row without a box]}.

    Images with an empty target or box have an empty list, which means that they are not annotated.
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
    """Returns whether there is an opacity; None if the cell is empty. pandas may write 1 as 1.0 or True."""
    return TARGETS[read_choice(id_text(text), TARGETS, "targets", path)] if text else None


def _read_patients(path: Path) -> dict[str, str]:
    """Reads {image: patient of ChestX-ray14}, which is the first part of the image names, such as 00000013_005.png."""
    if not path.is_file():
        logger.warning("%s is missing: images are split by image, not by patient.", path.name)
        return {}
    entries = json.loads(path.read_text(encoding="utf-8"))
    return {entry["subset_img_id"]: str(int(entry["img_id"].split("_")[0])) for entry in entries}
