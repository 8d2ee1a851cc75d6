"""Converter of CDD-CESM: contrast-enhanced spectral mammography, whose low-energy images are like mammograms.

Source: Khaled et al., "Categorized contrast enhanced mammography dataset for diagnostic and artificial intelligence
research", Scientific Data 9 (2022), 122, https://doi.org/10.1038/s41597-022-01238-0; files at The Cancer Imaging
Archive, https://www.cancerimagingarchive.net/collection/cdd-cesm/ (https://doi.org/10.7937/29kw-ae92). 2,006 JPEG
images of 326 patients, one hospital in Cairo.

License: CC BY 4.0; cite the paper, the collection and TCIA.

Supported releases: TCIA's `Radiology-manual-annotations.xlsx` (sheet `all`, also as CSV),
`Radiology_hand_drawn_segmentations_v2.csv`, and `Low energy images of CDD-CESM/*.jpg`, at any depth. Spaces and hyphens
in names vary between copies. A subset of the images is sufficient.

- `pathology`: normal, benign or malignant, from pathology or follow-up of each case.
- `lesion`: the radiologists' outlines. Normal images have an empty mask. Other images with points only, or without any
  mark, are not annotated, nor are normal images with outlines.
- `breast_density`: ACR A to D, available for low-energy images only.

There is no official split: 70/15/15 by patient. Each patient has one study.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from mtmedformer_monai.data.datalist import Datalist, Item
from mtmedformer_monai.data.image_size import read_image_size
from mtmedformer_monai.data.missing import id_text
from mtmedformer_monai.data.split import if_labeled, split_by_patient

from .drawn_masks import annotate_lesions
from .label_table import Row, read_table
from .mammogram_item import ImageFacts, make_mammogram, read_density
from .set_files import PICTURES, SetFolder, place_of, show_progress
from .task_classes import TASK_CLASSES
from .via_shapes import Shape, draw_shape, read_via_shapes

DENSITY = "Breast density (ACR)"
PATHOLOGY = "Pathology Classification/ Follow up"
COLUMNS = ["Image_name", "Patient_ID", "Side", "View", DENSITY, PATHOLOGY]
RELEASE = (
    "Radiology-manual-annotations.xlsx, Radiology_hand_drawn_segmentations_v2.csv and 'Low energy images of CDD-CESM' "
    "of The Cancer Imaging Archive"
)
LOW_ENERGY = r"(^|/)low[^/]*energy[^/]*/"
SUBTRACTED = r"(^|/)subtracted[^/]*/"


def convert(folder: Path, masks_folder: Path, subtracted: bool = False) -> Datalist:
    """Creates the datalist.

    Args:
        folder: dataset folder.
        masks_folder: output folder of the masks drawn from the outlines.
        subtracted: whether to include the subtracted images, which show contrast agent and do not resemble mammograms.

    Returns:
        Datalist with image paths relative to `folder` and absolute mask paths.

    Raises:
        FileNotFoundError: a table or the images are missing.
        ValueError: a table lacks a column.
    """
    files = SetFolder(folder, RELEASE)
    rows = {_key(row["Image_name"]): row for row in _read_annotations(files)}
    outlines = files.table_path(r"Radiology[^/]*hand[^/]*drawn[^/]*", "Radiology_hand_drawn_segmentations_v2.csv")
    shapes = {_key(name): marked for name, marked in read_via_shapes(outlines).items()}
    pattern = f"{LOW_ENERGY}|{SUBTRACTED}" if subtracted else LOW_ENERGY
    found = files.images(pattern, PICTURES, "'Low energy images of CDD-CESM'/*.jpg")
    images = {key: path for name, path in found.items() if (key := _key(name)) in rows}
    files.log_present(len(images), len(found))
    items = []
    for key, image in show_progress(images.items(), "Masks", "image"):
        items.append(_make_item(image, rows[key], shapes.get(key, []), masks_folder / f"{key}.png", folder))
    sections = split_by_patient(items, stratify_on=if_labeled(items, "pathology"))
    return {"name": "cdd_cesm", "licence": "CC BY 4.0", **sections}


def _read_annotations(files: SetFolder) -> list[Row]:
    path = files.table_path(r"Radiology[^/]*manual[^/]*annotations[^/]*", "Radiology*manual*annotations.xlsx")
    return read_table(path, COLUMNS, sheet="all")


def _key(name: str) -> str:
    """Normalizes a name to the form P1_L_DM_MLO, regardless of spaces, hyphens, case and file extension."""
    return re.sub(r"\.(jpe?g|png)$", "", name.replace(" ", "").replace("-", "_"), flags=re.IGNORECASE).upper()


def _make_item(image: Path, row: Row, shapes: Sequence[Shape], output: Path, folder: Path) -> Item:
    pathology = row[PATHOLOGY].lower()
    known = pathology if pathology in TASK_CLASSES["pathology"] else None
    patient = id_text(row["Patient_ID"])
    facts = ImageFacts(patient, patient, row["Side"], row["View"])
    labels = {"pathology": known, "breast_density": read_density(row[DENSITY])}
    return make_mammogram(place_of(image, folder), facts, labels, _annotate(image, known == "normal", shapes, output))


def _annotate(image: Path, is_normal: bool, shapes: Sequence[Shape], output: Path) -> Item:
    """Returns mask and boxes; empty if outlines and pathology are inconsistent."""
    height, width = read_image_size(image)
    lesions = [mask for shape in shapes if (mask := draw_shape(shape, height, width)) is not None]
    if is_normal == bool(shapes) or (shapes and not lesions):
        return {}
    return annotate_lesions(lesions, (height, width), output)
