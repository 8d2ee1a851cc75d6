"""Converter of NIH ChestX-ray14: pneumonia or no finding, with boxes on some pneumonia images.

Source: Wang et al., "ChestX-ray8: Hospital-scale Chest X-ray Database and Benchmarks on Weakly-Supervised
Classification and Localization of Common Thorax Diseases", CVPR 2017, pp. 3462-3471, https://arxiv.org/abs/1705.02315;
files at https://nihcc.app.box.com/v/ChestXray-NIHCC.

License: no restrictions on use; the NIH Clinical Center requests attribution with the paper and the link.

Supported releases: NIH's (`Data_Entry_2017.csv` or `Data_Entry_2017_v2020.csv`, `BBox_List_2017.csv`,
`train_val_list.txt`, `test_list.txt`, `images/*.png`), Kaggle's copy of it (`images_001/images/*.png`), smaller copies
with lists named `..._NIH.txt`, and Kaggle's sample of 5,606 images (`sample_labels.csv`), which has no lists and no
boxes.

The labels were extracted from reports by text mining, and some are wrong. The official lists define the test section;
15% of the images of `train_val_list.txt`, split by patient, become the validation section. The sample is split 70/15/15
by patient. Boxes are given in pixels of the images of 1024 x 1024 pixels, and are scaled if the files are smaller. The
official lists were not created for detection: if `mtmedformer datalist summarize` shows no boxes in the training
section, split the datalist again with `mtmedformer datalist split`.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mtmedformer_monai.data.datalist import Datalist, Item
from mtmedformer_monai.data.image_size import read_image_size
from mtmedformer_monai.data.missing import id_text
from mtmedformer_monai.data.split import hold_out_validation, if_labeled, split_by_patient

from .label_table import FILE_NAME, SECTION_OF_SPLIT, Row, has_label_table, read_label_table, read_number, read_table
from .set_files import PICTURES, SetFolder, place_of
from .sound_boxes import Box, corners_of, sound_boxes

logger = logging.getLogger(__name__)

ORIGINAL_SIDE = 1024
PNEUMONIA = "Pneumonia"
NO_FINDING = "No Finding"
COLUMNS = ("Image Index", "Finding Labels", "Patient ID")
# The last title of the published header is unquoted, so that "Bbox [x,y,w,h]" yields four titles for the four cells.
BOX_COLUMNS = ("Image Index", "Finding Label", "Bbox [x", "y", "w", "h]")
RELEASE = (
    "Data_Entry_2017*.csv, BBox_List_2017.csv, train_val_list.txt, test_list.txt and images*/**/*.png of NIH or "
    "Kaggle; or sample_labels.csv and images/*.png of Kaggle's sample"
)


def convert(folder: Path) -> Datalist:
    """Creates the datalist from a published layout, or from a flat one.

    Args:
        folder: folder with a release as above; or with `labels.csv` with the columns image, nih_labels,
            boxes_xywh_json, patient_id, split, and boxes in pixels of the images.

    Returns:
        Datalist with paths relative to `folder`. The label `finding` is 'pneumonia' if it is among the labels, 'normal'
        for no finding, and missing otherwise. The boxes `opacity` are those of pneumonia, an empty list for no finding,
        and missing otherwise.

    Raises:
        FileNotFoundError: a file of the layout is missing, or there are no images.
        ValueError: a table lacks a column, or a box is not numeric.
    """
    sections = _read_flat(folder) if has_label_table(folder) else _read_published(folder)
    return {"name": "nih_chestxray14", "licence": "NIH: free use, with attribution", **sections}


def make_item(
    image: str,
    findings: Sequence[str],
    boxes: Sequence[Sequence[float]],
    patient: str,
    size: tuple[int, int] | None = None,
) -> Item:
    """Creates the item of one image.

    Args:
        image: path of the image.
        findings: labels of the dataset.
        boxes: boxes of pneumonia, [[x, y, width, height], ...] in pixels of the image.
        patient: number of the patient.
        size: (H, W) of the image, to which the boxes are clipped; None if unknown.
    """
    item: Item = {"image": image, "patient_id": patient}
    named = [finding.strip().casefold() for finding in findings]
    if PNEUMONIA.casefold() in named:
        item["labels"] = {"finding": "pneumonia"}
        if opacities := sound_boxes((corners_of(*box) for box in boxes), size):
            item["boxes"] = {"opacity": opacities}
    elif named == [NO_FINDING.casefold()]:
        item |= {"labels": {"finding": "normal"}, "boxes": {"opacity": []}}
    return item


def _read_flat(folder: Path) -> dict[str, list[Item]]:
    sections: dict[str, list[Item]] = {section: [] for section in SECTION_OF_SPLIT.values()}
    for row in read_label_table(folder, ["nih_labels", "boxes_xywh_json", "patient_id"]):
        boxes = _listed_boxes(row["boxes_xywh_json"], folder / FILE_NAME)
        image = folder / row["image"]
        size = read_image_size(image) if boxes and image.is_file() else None
        item = make_item(row["image"], row["nih_labels"].split("|"), boxes, id_text(row["patient_id"]), size)
        sections[SECTION_OF_SPLIT[row["split"]]].append(item)
    return sections


def _listed_boxes(text: str, path: Path) -> list[Box]:
    """Parses the boxes of pneumonia from '[{"label": "Pneumonia", "box": [x, y, width, height]}]'."""
    try:
        listed: list[dict[str, Any]] = json.loads(text or "[]")
        boxes = [[float(value) for value in entry["box"]] for entry in listed if entry["label"] == PNEUMONIA]
        if all(len(box) == 4 for box in boxes):
            return boxes
    except (ValueError, TypeError, KeyError):
        pass
    raise ValueError(f'{path} expects boxes as [{{"label": ..., "box": [x, y, width, height]}}], got {text!r}.')


def _read_published(folder: Path) -> dict[str, list[Item]]:
    files = SetFolder(folder, RELEASE)
    images = files.images(r"(^|/)(images[^/]*/.*|\d{8}_\d{3}$)", PICTURES, "PNG files below images*/")
    if not files.find(r"(^|/)Data_Entry_2017[^/]*$", (".csv", ".xlsx")) and files.find(
        r"(^|/)sample_labels$", (".csv",)
    ):
        rows = files.table("sample_labels", "sample_labels.csv", COLUMNS)
        sample = [*_make_items(rows, images, {}, files).values()]
        return split_by_patient(sample, stratify_on=if_labeled(sample, "finding"))
    rows = files.table(r"Data_Entry_2017[^/]*", "Data_Entry_2017.csv", COLUMNS)
    boxes = _read_boxes(files.table_path("BBox_List_2017", "BBox_List_2017.csv"))
    tested, trained = (_read_list(files, name) for name in ("test_list", "train_val_list"))
    items = _make_items(rows, images, boxes, files)
    training = [item for name, item in items.items() if name in trained - tested]
    test = [item for name, item in items.items() if name in tested]
    logger.info("%d images that are not in the official lists are excluded.", len(items) - len(training) - len(test))
    sections = hold_out_validation(training, if_labeled(training, "finding")) if training else {}
    return {**sections, "test": test}


def _make_items(
    rows: Sequence[Row], images: Mapping[str, Path], boxes: Mapping[str, list[Box]], files: SetFolder
) -> dict[str, Item]:
    """Returns {image name without extension: item} of the existing images."""
    present = [row for row in rows if _stem(row["Image Index"]) in images]
    files.log_present(len(present), len(rows))
    return {
        (name := _stem(row["Image Index"])): _item_of(row, images[name], boxes.get(name, []), files.folder)
        for row in present
    }


def _item_of(row: Row, image: Path, boxes: Sequence[Box], folder: Path) -> Item:
    # The file name starts with the patient number, which is used if the column is empty.
    patient = id_text(row["Patient ID"]) or str(int(re.sub(r"\D", "", image.stem.split("_")[0]) or 0))
    size = read_image_size(image) if boxes else None
    return make_item(place_of(image, folder), row["Finding Labels"].split("|"), _scaled(boxes, size), patient, size)


def _read_list(files: SetFolder, name: str) -> set[str]:
    """Reads the image names, without extension, of an official list."""
    path = files.table_path(rf"{name}(_NIH)?", f"{name}.txt")
    return {_stem(line) for line in path.read_text(encoding="utf-8-sig").split()}


def _read_boxes(path: Path) -> dict[str, list[Box]]:
    """Reads the boxes of pneumonia: {image name without extension: [[x, y, width, height], ...]}."""
    boxes: dict[str, list[Box]] = {}
    for row in read_table(path, BOX_COLUMNS):
        numbers = [read_number(row, column, path) for column in BOX_COLUMNS[2:]]
        known = [number for number in numbers if number is not None]
        if row["Finding Label"].casefold() == PNEUMONIA.casefold() and len(known) == 4:
            boxes.setdefault(_stem(row["Image Index"]), []).append(known)
    return boxes


def _scaled(boxes: Iterable[Box], size: tuple[int, int] | None) -> list[Box]:
    """Scales boxes to the size of the file, since some copies of the dataset are downsampled."""
    if size is None:
        return []
    scale_y, scale_x = size[0] / ORIGINAL_SIDE, size[1] / ORIGINAL_SIDE
    return [[x * scale_x, y * scale_y, width * scale_x, height * scale_y] for x, y, width, height in boxes]


def _stem(name: str) -> str:
    return Path(name).stem
