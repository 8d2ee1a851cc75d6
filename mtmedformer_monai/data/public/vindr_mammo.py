"""Converter of VinDr-Mammo: full-field digital mammography of four views, with boxes, density and BI-RADS.

Source: Nguyen et al., "VinDr-Mammo: A large-scale benchmark dataset for computer-aided diagnosis in full-field digital
mammography", Scientific Data 10 (2023), 277, https://doi.org/10.1038/s41597-023-02100-7; files at PhysioNet,
https://physionet.org/content/vindr-mammo/1.0.0/ (https://doi.org/10.13026/br2v-7517). 5,000 examinations, two
hospitals in Hanoi.

Licence: PhysioNet Restricted Health Data License 1.5.0: after signing its data use agreement; not to be passed on.

Layout (1.0.0): `breast-level_annotations.csv`, `finding_annotations.csv`, `images/<study_id>/<image_id>.dicom`. A part
of the images will do.

- `lesion` boxes, in pixels of the file: masses, suspicious calcifications, asymmetries, distortions. Changes of skin,
  nipple and lymph nodes are none. What readers took for benign (BI-RADS 2) is not boxed: an image without a box has no
  *suspicious* lesion.
- `breast_density`: A to D, of the breast.
- `birads`: of the breast, by two readers and an arbiter; a task of its own. **No `pathology`**: nothing is proven by
  biopsy or follow-up.

The official split's test part stays; 15 % of its training examinations become the validation section. The set does
not tell women apart: each examination counts as a woman of its own.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path

from mtmedformer_monai.data.datalist import Datalist, Item
from mtmedformer_monai.data.split import hold_out_validation

from .drawn_masks import LESION
from .label_table import Row, read_table
from .mammogram_item import ImageFacts, make_mammogram, read_birads, read_density
from .set_files import index_files, place_of, tell_present

COLUMNS = ("study_id", "image_id", "laterality", "view_position", "breast_birads", "breast_density", "split")
BOX_COLUMNS = ("image_id", "finding_categories", "xmin", "ymin", "xmax", "ymax", "height", "width")
LESIONS = {
    "Mass",
    "Suspicious Calcification",
    "Asymmetry",
    "Focal Asymmetry",
    "Global Asymmetry",
    "Architectural Distortion",
}
SPLITS = ("training", "test")

Box = list[float]


def convert(folder: Path) -> Datalist:
    """Makes the datalist.

    Args:
        folder: of the set.

    Returns:
        Datalist with paths relative to `folder`.

    Raises:
        FileNotFoundError: a table, or all images, are missing.
        ValueError: a table lacks a column, or names another split.
    """
    rows = read_table(folder / "breast-level_annotations.csv", COLUMNS)
    boxes = _read_boxes(folder / "finding_annotations.csv")
    images = {path.stem: path for path in index_files(folder, "images/*/*.dicom").values()}
    unknown = {row["split"] for row in rows} - set(SPLITS)
    if unknown:
        raise ValueError(f"{folder} expects splits {SPLITS}, got {sorted(unknown)}; fetch release 1.0.0's own tables.")
    listed = [row for row in rows if row["image_id"] in images]
    tell_present(len(listed), len(rows), folder)
    parts: dict[str, list[Item]] = {split: [] for split in SPLITS}
    for row in listed:
        image = images[row["image_id"]]
        parts[row["split"]].append(_make_item(row, place_of(image, folder), boxes.get(row["image_id"], [])))
    training = hold_out_validation(parts["training"], stratify_on="birads") if parts["training"] else {}
    return {"name": "vindr_mammo", "licence": "PhysioNet restricted", **training, "test": parts["test"]}


def _make_item(row: Row, image: str, boxes: Sequence[Box]) -> Item:
    facts = ImageFacts(row["study_id"], row["study_id"], row["laterality"], row["view_position"])
    labels = {"breast_density": read_density(row["breast_density"]), "birads": read_birads(row["breast_birads"])}
    return make_mammogram(image, facts, labels, {"boxes": {LESION: list(boxes)}})


def _read_boxes(path: Path) -> dict[str, list[Box]]:
    """{image: boxes of lesions}, clipped to the image: some reach beyond it."""
    boxes: dict[str, list[Box]] = {}
    for row in read_table(path, BOX_COLUMNS):
        if LESIONS & set(_categories(row["finding_categories"], path)):
            limits = (float(row["width"]), float(row["height"]))
            x1, x2 = (min(max(float(row[name]), 0.0), limits[0]) for name in ("xmin", "xmax"))
            y1, y2 = (min(max(float(row[name]), 0.0), limits[1]) for name in ("ymin", "ymax"))
            boxes.setdefault(row["image_id"], []).append([x1, y1, x2, y2])
    return boxes


def _categories(text: str, path: Path) -> list[str]:
    """Out of "['Mass', 'Skin Thickening']"."""
    try:
        return [str(name) for name in ast.literal_eval(text)]
    except (ValueError, SyntaxError) as error:
        raise ValueError(f"{path} expects categories as \"['Mass']\", got {text!r}; fetch the set's table.") from error
