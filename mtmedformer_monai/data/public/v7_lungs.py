"""Converter of V7's COVID-19 X-ray dataset: lung masks of chest X-rays from many hospitals.

Source: V7 Labs, "COVID-19 X-ray dataset", https://github.com/v7labs/covid-19-xray-dataset: lung polygons for the images
of Cohen et al., "COVID-19 Image Data Collection", arXiv:2003.11597, 2020, and of Kermany et al., Cell 172
(2018), 1122-1131. The masks include the lung behind the heart.

License: annotations CC BY 4.0; images of the first source have individual licenses, some non-commercial.

Supported releases: V7's repository (`images/*`, `annotations/**/*.json` in Darwin's format 1 or 2), at any depth.

Labels are available in the flat layout only: COVID-19 and other pneumonia are 'pneumonia', no finding is 'normal', and
other images have no `finding`. `pneumonia_type` is set if the raw finding contains 'bacterial' or 'viral'. Names of
pathogens and COVID-19 are ignored: most images are COVID-19, so that 'viral' would mostly mean COVID-19. The boxes of
the dataset mark lungs, not opacities.

The published layout has no official split and is split 70/15/15 by patient. It contains Kermany's images, so do not
join
it with `kermany`: a patient in the training section of one dataset may be in the test section of the other.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mtmedformer_monai.data.datalist import Datalist, Item
from mtmedformer_monai.data.image_size import read_image_size
from mtmedformer_monai.data.missing import id_text
from mtmedformer_monai.data.split import split_by_patient

from .drawn_masks import read_drawn, save_mask
from .fill_polygon import fill_polygon
from .kermany import parse_name
from .label_table import SECTION_OF_SPLIT, Row, has_label_table, read_label_table
from .set_files import RADIOGRAPHS, SetFolder, place_of

logger = logging.getLogger(__name__)

FINDINGS = {"COVID-19": "pneumonia", "OTHER_PNEUMONIA": "pneumonia", "NO_FINDING": "normal"}
TYPES = ("bacterial", "viral")
LUNG = "Lung"
RELEASE = "images/ and annotations/*.json of V7's repository, exported from Darwin"
PATIENT_TAG = "Patient ID"
SEED = 0


def convert(folder: Path, masks_folder: Path | None = None) -> Datalist:
    """Creates the datalist from the published layout, or from a flat one.

    Args:
        folder: folder with `images/` and `annotations/*.json` as exported by Darwin; or with `labels.csv` with the
            columns image, mask_lung, label, finding_raw, patient_id, source_site, split.
        masks_folder: output folder of the masks drawn from the polygons; defaults to `lung_masks` in `folder`. Not used
            with the flat layout, which includes masks.

    Returns:
        Datalist with paths relative to `folder`.

    Raises:
        FileNotFoundError: there are no annotations, or none of their images exists.
    """
    if has_label_table(folder):
        sections = _read_flat(folder)
    else:
        items = _read_published(folder, masks_folder or folder / "lung_masks")
        sections = split_by_patient(items, seed=SEED)
    return {"name": "v7_lungs", "licence": "CC BY 4.0 (masks); images by source, some CC BY-NC-SA", **sections}


def _read_flat(folder: Path) -> dict[str, list[Item]]:
    sections: dict[str, list[Item]] = {section: [] for section in SECTION_OF_SPLIT.values()}
    for row in read_label_table(folder, ["mask_lung", "label", "finding_raw", "patient_id", "source_site"]):
        sections[SECTION_OF_SPLIT[row["split"]]].append(_flat_item(row, folder))
    return sections


def _flat_item(row: Row, folder: Path) -> Item:
    item: Item = {"image": row["image"], "patient_id": id_text(row["patient_id"]), "site": row["source_site"]}
    mask = folder / row["mask_lung"]
    if row["mask_lung"] and not (mask.is_file() and read_drawn(mask) is None):
        item["masks"] = {"lung": row["mask_lung"]}
    if row["label"] in FINDINGS:
        item["labels"] = {"finding": FINDINGS[row["label"]]}
    said = [name for name in TYPES if name in row["finding_raw"].lower().split()]
    if row["label"] == "OTHER_PNEUMONIA" and len(said) == 1:
        item["labels"]["pneumonia_type"] = said[0]
    return {key: value for key, value in item.items() if value != ""}


def _read_published(folder: Path, masks_folder: Path) -> list[Item]:
    """Creates the items of images with lung polygons; lateral views and CT slices have none and are excluded."""
    files = SetFolder(folder, RELEASE)
    drawn = place_of(masks_folder, folder)
    images = {path.name: path for path in files.find("", RADIOGRAPHS) if not place_of(path, folder).startswith(drawn)}
    stems = {path.stem: path for path in images.values()}
    items, num_absent = [], 0
    for path in files.find(r"(^|/)annotations/", (".json",)):
        record = json.loads(path.read_text(encoding="utf-8-sig"))
        name, original_name = _image_names(record, path)
        image = images.get(Path(name).name) or stems.get(Path(name).stem)
        num_absent += image is None
        mask = image and _draw_lungs(record["annotations"], image, masks_folder / f"{path.stem}.png")
        if image and mask:
            patient = _patient_of(record["annotations"], original_name)
            items.append(
                {"image": place_of(image, folder), "masks": {"lung": place_of(mask, folder)}, "patient_id": patient}
            )
    if not items:
        raise files.lacks(f"images/ and annotations/*.json with polygons {LUNG!r}, or labels.csv")
    logger.info("%d images have lung polygons; %d annotated images are missing.", len(items), num_absent)
    return items


def _draw_lungs(annotations: Sequence[Mapping[str, Any]], image: Path, output: Path) -> Path | None:
    """Draws the lung mask and returns its path; None if there is no polygon, or a polygon has no area."""
    polygons = list(lung_polygons(annotations))
    if polygons and all(len(polygon) > 2 for polygon in polygons):
        mask = draw_mask(polygons, image, output)
        if read_drawn(mask) is not None:
            return mask
        mask.unlink()
    return None


def lung_polygons(annotations: Sequence[Mapping[str, Any]]) -> Iterator[list[tuple[float, float]]]:
    """Yields the closed polygons of all lungs, (x, y) in pixel-edge coordinates: pixel i covers [i, i + 1).

    Darwin exports `{"polygon": {"path": [{"x", "y"}, ...]}}`, and later `{"polygon": {"paths": [[...], ...]}}`.
    """
    for annotation in annotations:
        polygon = annotation.get("polygon")
        if annotation.get("name") == LUNG and polygon is not None:
            for path in polygon.get("paths") or [polygon.get("path") or []]:
                yield [(float(point["x"]), float(point["y"])) for point in path]


def draw_mask(polygons: Sequence[Sequence[tuple[float, float]]], image: Path, output: Path) -> Path:
    """Draws the union of polygons as a 1-bit PNG of the image's size, and returns its path."""
    height, width = read_image_size(image)
    mask = np.zeros((height, width), dtype=bool)
    for polygon in polygons:
        mask |= fill_polygon(polygon, height, width)
    return save_mask(mask, output)


def _image_names(record: Mapping[str, Any], path: Path) -> tuple[str, str]:
    """Returns the file name and the original file name, from `image` or, in Darwin 2.0, from `item`."""
    image = record.get("image") or {"filename": record.get("item", {}).get("name")}
    if not image.get("filename") or "annotations" not in record:
        raise ValueError(f"{path} expects an image's file name and annotations; export it as Darwin JSON.")
    return str(image["filename"]), str(image.get("original_filename") or image["filename"])


def _patient_of(annotations: Sequence[Mapping[str, Any]], original_name: str) -> str:
    """Returns the patient: the patient tag, the patient in the name of a Kermany image, or else the file name."""
    tags = [str(entry.get("name")) for entry in annotations if str(entry.get("name")).startswith(PATIENT_TAG)]
    if tags:
        return tags[0]
    stem = Path(original_name).stem
    try:
        return parse_name(stem)[0]
    except ValueError:
        return stem
