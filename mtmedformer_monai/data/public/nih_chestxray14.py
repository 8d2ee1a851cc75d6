"""Converter of NIH ChestX-ray14: pneumonia or no finding, with boxes on some pneumonias.

Source: Wang et al., "ChestX-ray8: Hospital-scale Chest X-ray Database and Benchmarks on Weakly-Supervised
Classification and Localization of Common Thorax Diseases", CVPR 2017, pp. 3462-3471, https://arxiv.org/abs/1705.02315;
files at https://nihcc.app.box.com/v/ChestXray-NIHCC.

Licence: no restriction on use; the NIH Clinical Center asks to be named as provider, with the paper and the link.

Labels were mined from reports, and are wrong on some images. The official lists make the test section; 15 % of the
patients of `train_val_list.txt` become the validation section. Boxes are in pixels of the 1024 px images, and are
scaled where the files are smaller. The official lists were not drawn for detection: where `mtmedformer datalist
summarize` shows no boxes to train on, split anew with `mtmedformer datalist split`.
"""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from mtmedformer_monai.data.datalist import Datalist, Item
from mtmedformer_monai.data.split import hold_out_validation

from .label_table import SECTION_OF_SPLIT, has_label_table, read_label_table, read_table

logger = logging.getLogger(__name__)

ORIGINAL_SIDE = 1024
PNEUMONIA = "Pneumonia"
NO_FINDING = "No Finding"


def convert(folder: Path) -> Datalist:
    """Makes the datalist of the published layout, or of a flat one.

    Args:
        folder: holds `Data_Entry_2017.csv` (or `_v2020`), `BBox_List_2017.csv`, `train_val_list.txt`, `test_list.txt`
            and `images*/**/*.png`; or `labels.csv` with the columns image, nih_labels, boxes_xywh_json, patient_id,
            split, its boxes in pixels of the images there.

    Returns:
        Datalist with paths relative to `folder`. Label `finding`: 'pneumonia' where that is among the labels, 'normal'
        for no finding, else left out. Boxes `opacity`: of pneumonia where boxed, none (an empty list) for no finding,
        else left out.

    Raises:
        FileNotFoundError: a file of the layout is missing, or no image is there.
        ValueError: a table lacks a column.
    """
    sections = _read_flat(folder) if has_label_table(folder) else _read_published(folder)
    return {"name": "nih_chestxray14", "licence": "NIH: free use, with attribution", **sections}


def make_item(image: str, findings: Sequence[str], boxes: Sequence[Sequence[float]], patient: str) -> Item:
    """Item of one image.

    Args:
        image: path.
        findings: the set's labels.
        boxes: of pneumonia, [[x, y, width, height], ...] in pixels of the image.
        patient: number.
    """
    item: Item = {"image": image, "patient_id": patient}
    if PNEUMONIA in findings:
        item["labels"] = {"finding": "pneumonia"}
        if boxes:
            item["boxes"] = {"opacity": [[x, y, round(x + w, 3), round(y + h, 3)] for x, y, w, h in boxes]}
    elif list(findings) == [NO_FINDING]:
        item |= {"labels": {"finding": "normal"}, "boxes": {"opacity": []}}
    return item


def _read_flat(folder: Path) -> dict[str, list[Item]]:
    sections: dict[str, list[Item]] = {section: [] for section in SECTION_OF_SPLIT.values()}
    for row in read_label_table(folder, ["nih_labels", "boxes_xywh_json", "patient_id"]):
        listed = json.loads(row["boxes_xywh_json"] or "[]")
        boxes = [entry["box"] for entry in listed if entry["label"] == PNEUMONIA]
        item = make_item(row["image"], row["nih_labels"].split("|"), boxes, row["patient_id"])
        sections[SECTION_OF_SPLIT[row["split"]]].append(item)
    return sections


def _read_published(folder: Path) -> dict[str, list[Item]]:
    table = next((path for path in sorted(folder.glob("Data_Entry_2017*.csv"))), folder / "Data_Entry_2017.csv")
    images = {path.name: path for path in sorted(folder.glob("images*/**/*.png"))}
    if not images:
        raise FileNotFoundError(f"{folder} expects PNG files below images*/; unpack the archives of the set there.")
    boxes = _read_boxes(folder / "BBox_List_2017.csv")
    tested = set((folder / "test_list.txt").read_text(encoding="utf-8").split())
    trained = set((folder / "train_val_list.txt").read_text(encoding="utf-8").split())
    training: list[Item] = []
    test: list[Item] = []
    rows = read_table(table, ["Image Index", "Finding Labels", "Patient ID"])
    for row in rows:
        name = row["Image Index"]
        if name in images and name in tested | trained:
            pixels = _scaled(boxes.get(name, []), images[name])
            place = images[name].relative_to(folder).as_posix()
            item = make_item(place, row["Finding Labels"].split("|"), pixels, row["Patient ID"])
            (test if name in tested else training).append(item)
    logger.info("%d of the %d images in %s are there.", len(training) + len(test), len(rows), table.name)
    return {**hold_out_validation(training, stratify_on="finding"), "test": test}


def _read_boxes(path: Path) -> dict[str, list[list[float]]]:
    """{image name: [[x, y, width, height], ...]} of pneumonia; the header splits its last title over four cells."""
    boxes: dict[str, list[list[float]]] = {}
    with path.open(newline="", encoding="utf-8-sig") as stream:
        for row in csv.reader(stream):
            if len(row) >= 6 and row[1] == PNEUMONIA:
                boxes.setdefault(row[0], []).append([float(value) for value in row[2:6]])
    return boxes


def _scaled(boxes: Sequence[Sequence[float]], path: Path) -> list[list[float]]:
    """Boxes in pixels of the file at hand, which some copies of the set have shrunk."""
    if not boxes:
        return []
    with Image.open(path) as picture:
        width, height = picture.size
    scale_x, scale_y = width / ORIGINAL_SIDE, height / ORIGINAL_SIDE
    return [[x * scale_x, y * scale_y, w * scale_x, h * scale_y] for x, y, w, h in boxes]
