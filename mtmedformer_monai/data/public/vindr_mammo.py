"""Converter of VinDr-Mammo: full-field digital mammography of four views, with boxes, density and BI-RADS.

Source: Nguyen et al., "VinDr-Mammo: A large-scale benchmark dataset for computer-aided diagnosis in full-field digital
mammography", Scientific Data 10 (2023), 277, https://doi.org/10.1038/s41597-023-02100-7; files at PhysioNet,
https://physionet.org/content/vindr-mammo/1.0.0/ (https://doi.org/10.13026/br2v-7517). 5,000 examinations, two
hospitals in Hanoi.

License: PhysioNet Restricted Health Data License 1.5.0, requires its data use agreement; no redistribution.

Layout (1.0.0): `breast-level_annotations.csv`, `finding_annotations.csv`, `images/<study_id>/<image_id>.dicom`; or PNG
copies of the images, to whose size the boxes are scaled. A subset of the images is sufficient.

- `lesion` boxes, in pixels of the file: masses, suspicious calcifications, asymmetries and distortions, but not changes
  of the skin, nipple or lymph nodes. Findings considered benign (BI-RADS 2) have no boxes, so an image without a box
  has
  no *suspicious* lesion. Each such image has a row 'No Finding'; images without any row are not annotated.
- `breast_density`: A to D, per breast.
- `birads`: per breast, by two readers with arbitration; a separate task. **No `pathology`**: the findings are not
  verified by biopsy or follow-up.

The test part of the official split is kept; 15% of its training images, split by examination, become the validation
section. Patients are not identified, so each examination counts as a separate patient.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from pathlib import Path

from mtmedformer_monai.data.datalist import Datalist, Item
from mtmedformer_monai.data.image_size import read_image_size
from mtmedformer_monai.data.missing import id_text
from mtmedformer_monai.data.split import hold_out_validation, if_labeled

from .drawn_masks import LESION
from .label_table import Row, read_choice, read_number, read_table
from .mammogram_item import ImageFacts, make_mammogram, read_birads, read_density
from .set_files import PICTURES, RADIOGRAPHS, SetFolder, place_of
from .sound_boxes import Box, sound_boxes

COLUMNS = ("study_id", "image_id", "laterality", "view_position", "breast_birads", "breast_density", "split")
BOX_COLUMNS = ("image_id", "finding_categories", "xmin", "ymin", "xmax", "ymax", "height", "width")
BOX_NUMBERS = ("height", "width", "xmin", "ymin", "xmax", "ymax")
LESIONS = {
    "Mass",
    "Suspicious Calcification",
    "Asymmetry",
    "Focal Asymmetry",
    "Global Asymmetry",
    "Architectural Distortion",
}
OTHER_FINDINGS = {"Skin Thickening", "Skin Retraction", "Nipple Retraction", "Suspicious Lymph Node", "No Finding"}
SPLITS = ("training", "test")
RELEASE = (
    "breast-level_annotations.csv, finding_annotations.csv and images/<study_id>/<image_id>.dicom of PhysioNet 1.0.0"
)


def convert(folder: Path) -> Datalist:
    """Creates the datalist.

    Args:
        folder: dataset folder.

    Returns:
        Datalist with paths relative to `folder`.

    Raises:
        FileNotFoundError: a table is missing, or there are no images.
        ValueError: a table lacks a column, or contains an unknown split or finding.
    """
    files = SetFolder(folder, RELEASE)
    path = files.table_path("breast-level_annotations", "breast-level_annotations.csv")
    rows = [row | {"split": read_choice(row["split"], SPLITS, "splits", path)} for row in read_table(path, COLUMNS)]
    findings = _read_findings(files.table_path("finding_annotations", "finding_annotations.csv"))
    images = files.images("", RADIOGRAPHS, "images/*/*.dicom")
    listed = [row for row in rows if row["image_id"] in images]
    files.log_present(len(listed), len(rows))
    parts: dict[str, list[Item]] = {split: [] for split in SPLITS}
    for row in listed:
        parts[row["split"]].append(_make_item(row, images[row["image_id"]], folder, findings.get(row["image_id"])))
    training = parts["training"]
    sections = hold_out_validation(training, if_labeled(training, "birads")) if training else {}
    return {"name": "vindr_mammo", "licence": "PhysioNet restricted", **sections, "test": parts["test"]}


def _make_item(row: Row, image: Path, folder: Path, findings: _Findings | None) -> Item:
    study = id_text(row["study_id"])
    facts = ImageFacts(study, study, row["laterality"], row["view_position"])
    labels = {"breast_density": read_density(row["breast_density"]), "birads": read_birads(row["breast_birads"])}
    boxes = None if findings is None else findings.boxes_in(image)
    annotations = {} if boxes is None else {"boxes": {LESION: boxes}}
    return make_mammogram(place_of(image, folder), facts, labels, annotations)


@dataclass
class _Findings:
    """Findings of one image.

    Attributes:
        size: (H, W) of the published file; None if the table does not state it.
        boxes: boxes of lesions.
        lacks_box: whether a lesion has no box.
    """

    size: tuple[int, int] | None = None
    boxes: list[Box] = field(default_factory=list)
    lacks_box: bool = False

    def boxes_in(self, image: Path) -> list[Box] | None:
        """Returns the cleaned boxes, scaled to a PNG copy if necessary; None if not annotated."""
        if self.lacks_box:
            return None
        boxes = sound_boxes(self.boxes, self.size)
        if not boxes or self.size is None or image.suffix.lower() not in PICTURES:
            return boxes
        height, width = read_image_size(image)
        scales = (width / self.size[1], height / self.size[0]) * 2
        scaled = ([value * scale for value, scale in zip(box, scales, strict=True)] for box in boxes)
        return sound_boxes(scaled, (height, width))


def _read_findings(path: Path) -> dict[str, _Findings]:
    """Reads {image: findings}; the release has a row 'No Finding' for each image without findings."""
    findings: dict[str, _Findings] = {}
    for row in read_table(path, BOX_COLUMNS):
        entry = findings.setdefault(row["image_id"], _Findings())
        height, width, *corners = (read_number(row, column, path) for column in BOX_NUMBERS)
        if height and width:
            entry.size = (int(height), int(width))
        kinds = _categories(row["finding_categories"], path)
        box = [corner for corner in corners if corner is not None]
        if not kinds or (kinds & LESIONS and len(box) < 4):
            entry.lacks_box = True
        elif kinds & LESIONS:
            entry.boxes.append(box)
    return findings


def _read_boxes(path: Path) -> dict[str, list[Box] | None]:
    """Reads {image: cleaned boxes of lesions in pixels of the published file}; None if not annotated."""
    return {name: entry.boxes_in(Path(f"{name}.dicom")) for name, entry in _read_findings(path).items()}


def _categories(text: str, path: Path) -> set[str]:
    """Parses categories such as "['Mass', 'Skin Thickening']"; an empty cell has none."""
    try:
        listed = ast.literal_eval(text) if text else []
        return {read_choice(str(name), LESIONS | OTHER_FINDINGS, "categories", path) for name in listed}
    except (ValueError, SyntaxError) as error:
        raise ValueError(
            f"{path} expects categories as \"['Mass']\" of {sorted(LESIONS | OTHER_FINDINGS)}, got {text!r}; use the "
            "original table."
        ) from error
