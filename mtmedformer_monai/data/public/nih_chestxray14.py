"""Converter of NIH ChestX-ray14: pneumonia or no finding, with boxes on some pneumonias.

Source: Wang et al., "ChestX-ray8: Hospital-scale Chest X-ray Database and Benchmarks on Weakly-Supervised
Classification and Localization of Common Thorax Diseases", CVPR 2017, pp. 3462-3471, https://arxiv.org/abs/1705.02315;
files at https://nihcc.app.box.com/v/ChestXray-NIHCC.

License: no restriction on use; the NIH Clinical Center asks to be named as provider, with the paper and the link.

Releases that are known: NIH's (`Data_Entry_2017.csv` or `Data_Entry_2017_v2020.csv`, `BBox_List_2017.csv`,
`train_val_list.txt`, `test_list.txt`, `images/*.png`), Kaggle's copy of it (`images_001/images/*.png`), smaller ones
with lists named `..._NIH.txt`, and Kaggle's sample of 5,606 images (`sample_labels.csv`), which has no lists and no
boxes.

Labels were mined from reports, and are wrong on some images. The official lists make the test section; 15 % of the
patients of `train_val_list.txt` become the validation section; the sample is split 70 / 15 / 15 by patient. Boxes are
in pixels of the 1024 px images, and are scaled where the files are smaller. The official lists were not drawn for
detection: where `mtmedformer datalist summarize` shows no boxes to train on, split anew with `mtmedformer datalist
split`.
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
from mtmedformer_monai.data.split import hold_out_validation, split_by_patient

from .label_table import FILE_NAME, SECTION_OF_SPLIT, Row, has_label_table, read_label_table, read_number, read_table
from .set_files import PICTURES, SetFolder, place_of
from .sound_boxes import Box, corners_of, sound_boxes

logger = logging.getLogger(__name__)

ORIGINAL_SIDE = 1024
PNEUMONIA = "Pneumonia"
NO_FINDING = "No Finding"
COLUMNS = ("Image Index", "Finding Labels", "Patient ID")
# The published header has its last title unquoted: "Bbox [x,y,w,h]" makes four titles, which name the four cells.
BOX_COLUMNS = ("Image Index", "Finding Label", "Bbox [x", "y", "w", "h]")
RELEASE = (
    "Data_Entry_2017*.csv, BBox_List_2017.csv, train_val_list.txt, test_list.txt and images*/**/*.png of NIH or "
    "Kaggle; or sample_labels.csv and images/*.png of Kaggle's sample"
)


def convert(folder: Path) -> Datalist:
    """Makes the datalist of a published layout, or of a flat one.

    Args:
        folder: holds a release as above; or `labels.csv` with the columns image, nih_labels, boxes_xywh_json,
            patient_id, split, its boxes in pixels of the images there.

    Returns:
        Datalist with paths relative to `folder`. Label `finding`: 'pneumonia' where that is among the labels, 'normal'
        for no finding, else left out. Boxes `opacity`: of pneumonia where boxed, none (an empty list) for no finding,
        else left out.

    Raises:
        FileNotFoundError: a file of the layout is missing, or no image is there.
        ValueError: a table lacks a column, or a box is no numbers.
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
    """Item of one image.

    Args:
        image: path.
        findings: the set's labels.
        boxes: of pneumonia, [[x, y, width, height], ...] in pixels of the image.
        patient: number.
        size: (H, W) of the image, which the boxes are clipped to; None where it is unknown.
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
    """Boxes of pneumonia out of '[{"label": "Pneumonia", "box": [x, y, width, height]}]'."""
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
        items = _make_items(rows, images, {}, files)
        return split_by_patient([*items.values()], stratify_on="finding") if items else {}
    rows = files.table(r"Data_Entry_2017[^/]*", "Data_Entry_2017.csv", COLUMNS)
    boxes = _read_boxes(files.table_path("BBox_List_2017", "BBox_List_2017.csv"))
    tested, trained = (_read_list(files, name) for name in ("test_list", "train_val_list"))
    items = _make_items(rows, images, boxes, files)
    training = [item for name, item in items.items() if name in trained - tested]
    test = [item for name, item in items.items() if name in tested]
    logger.info("%d images that neither official list names are left out.", len(items) - len(training) - len(test))
    return {**hold_out_validation(training, stratify_on="finding"), "test": test}


def _make_items(
    rows: Sequence[Row], images: Mapping[str, Path], boxes: Mapping[str, list[Box]], files: SetFolder
) -> dict[str, Item]:
    """{image's name without ending: item} of the images that are there."""
    present = [row for row in rows if _stem(row["Image Index"]) in images]
    files.log_present(len(present), len(rows))
    return {
        (name := _stem(row["Image Index"])): _item_of(row, images[name], boxes.get(name, []), files.folder)
        for row in present
    }


def _item_of(row: Row, image: Path, boxes: Sequence[Box], folder: Path) -> Item:
    # The number before the underscore is the patient's: it stands in where the column is empty.
    patient = id_text(row["Patient ID"]) or str(int(re.sub(r"\D", "", image.stem.split("_")[0]) or 0))
    size = read_image_size(image) if boxes else None
    return make_item(place_of(image, folder), row["Finding Labels"].split("|"), _scaled(boxes, size), patient, size)


def _read_list(files: SetFolder, name: str) -> set[str]:
    """Names without ending of an official list."""
    path = files.table_path(rf"{name}(_NIH)?", f"{name}.txt")
    return {_stem(line) for line in path.read_text(encoding="utf-8-sig").split()}


def _read_boxes(path: Path) -> dict[str, list[Box]]:
    """{image name without ending: [[x, y, width, height], ...]} of pneumonia."""
    boxes: dict[str, list[Box]] = {}
    for row in read_table(path, BOX_COLUMNS):
        numbers = [read_number(row, column, path) for column in BOX_COLUMNS[2:]]
        known = [number for number in numbers if number is not None]
        if row["Finding Label"].casefold() == PNEUMONIA.casefold() and len(known) == 4:
            boxes.setdefault(_stem(row["Image Index"]), []).append(known)
    return boxes


def _scaled(boxes: Iterable[Box], size: tuple[int, int] | None) -> list[Box]:
    """Boxes in pixels of the file at hand, which some copies of the set have shrunk."""
    if size is None:
        return []
    scale_y, scale_x = size[0] / ORIGINAL_SIDE, size[1] / ORIGINAL_SIDE
    return [[x * scale_x, y * scale_y, width * scale_x, height * scale_y] for x, y, width, height in boxes]


def _stem(name: str) -> str:
    return Path(name).stem
