"""Converter of the RSNA Pneumonia Detection Challenge: boxes around opacities, normal images, and those in between.

Source: Shih et al., "Augmenting the National Institutes of Health Chest Radiograph Dataset with Expert Annotations of
Possible Pneumonia", Radiology: Artificial Intelligence 1 (2019), e180041, https://doi.org/10.1148/ryai.2019180041;
files at https://www.kaggle.com/c/rsna-pneumonia-detection-challenge (stage 2). 26,684 images of ChestX-ray14.

Licence: by the challenge's rules for research and education, not for profit; name RSNA and the NIH Clinical Center.

Layout (Kaggle's stage 2): `stage_2_train_labels.csv`, `stage_2_detailed_class_info.csv`,
`stage_2_train_images/<patientId>.dcm`. The test images have no public labels, and are left out.

- `finding`: 'Lung Opacity' is 'pneumonia', 'Normal' is 'normal'; 'No Lung Opacity / Not Normal' is neither.
- `opacity` boxes: as drawn; the other two classes have none there.

What the set calls a patient is an image. With `pneumonia-challenge-dataset-mappings_2018.json` of RSNA's own page
(https://www.rsna.org/rsnai/ai-image-challenge/rsna-pneumonia-detection-challenge-2018) in the folder, images are split
by the patients of ChestX-ray14; without it, by image, and a patient may stand in two sections. No official split of
what is labeled: 70 / 15 / 15. Don't join it with `nih_chestxray14`, which holds the same images.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

from mtmedformer_monai.data.datalist import Datalist, Item
from mtmedformer_monai.data.split import split_by_patient

from .label_table import read_table
from .set_files import index_files, place_of, tell_present

logger = logging.getLogger(__name__)

FINDINGS = {"Lung Opacity": "pneumonia", "Normal": "normal", "No Lung Opacity / Not Normal": None}
MAPPING = "pneumonia-challenge-dataset-mappings_2018.json"
BOX_COLUMNS = ("patientId", "x", "y", "width", "height", "Target")

Box = list[float]


def convert(folder: Path) -> Datalist:
    """Makes the datalist.

    Args:
        folder: of the set.

    Returns:
        Datalist with paths relative to `folder`.

    Raises:
        FileNotFoundError: a table or the images are missing.
        ValueError: a table lacks a column, or names another class.
    """
    rows = read_table(folder / "stage_2_detailed_class_info.csv", ["patientId", "class"])
    classes = {row["patientId"]: row["class"] for row in rows}
    unknown = set(classes.values()) - set(FINDINGS)
    if unknown:
        raise ValueError(f"{folder} expects classes {list(FINDINGS)}, got {sorted(unknown)}; fetch stage 2's tables.")
    boxes = _read_boxes(folder / "stage_2_train_labels.csv")
    found = {path.stem: path for path in index_files(folder, "stage_2_train_images/*.dcm").values()}
    images = {name: path for name, path in found.items() if name in classes}
    tell_present(len(images), len(classes), folder)
    patients = _read_patients(folder / MAPPING)
    items = [
        _make_item(place_of(path, folder), patients.get(name, name), FINDINGS[classes[name]], boxes.get(name, []))
        for name, path in images.items()
    ]
    sections = split_by_patient(items, stratify_on="finding")
    return {"name": "rsna_pneumonia", "licence": "challenge rules: non-profit", **sections}


def _make_item(image: str, patient: str, finding: str | None, boxes: list[Box]) -> Item:
    item: Item = {"image": image, "patient_id": patient, "boxes": {"opacity": boxes}}
    return item | ({"labels": {"finding": finding}} if finding else {})


def _read_boxes(path: Path) -> dict[str, list[Box]]:
    """{image: boxes}, out of corner, width and height."""
    boxes: dict[str, list[Box]] = {}
    for row in read_table(path, BOX_COLUMNS):
        if row["Target"] == "1":
            x, y, width, height = (float(row[name]) for name in ("x", "y", "width", "height"))
            boxes.setdefault(row["patientId"], []).append([x, y, x + width, y + height])
    return boxes


def _read_patients(path: Path) -> dict[str, str]:
    """{image: patient of ChestX-ray14}, whose image names begin with it: 00000013_005.png."""
    if not path.is_file():
        logger.warning("%s is not there: images are split one by one, not by patient.", path.name)
        return {}
    entries = json.loads(path.read_text(encoding="utf-8"))
    return {entry["subset_img_id"]: str(int(entry["img_id"].split("_")[0])) for entry in entries}
