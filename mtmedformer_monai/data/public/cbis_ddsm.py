"""Converter of CBIS-DDSM: digitized film mammograms with outlined masses and calcifications of proven pathology.

Source: Lee et al., "A curated mammography data set for use in computer-aided detection and diagnosis research",
Scientific Data 4 (2017), 170177, https://doi.org/10.1038/sdata.2017.177; files at The Cancer Imaging Archive,
https://www.cancerimagingarchive.net/collection/cbis-ddsm/ (version 1, 2017).

License: CC BY 3.0; cite the paper, the collection (https://doi.org/10.7937/K9/TCIA.2016.7O02S9CY) and TCIA.

Supported releases: the four tables `{mass,calc}_case_description_{train,test}_set.csv` and the folders
`Mass-Training_P_...` as downloaded with TCIA's data retriever, at any depth and with any subfolder names; or the JPEG
copy on Kaggle, with `csv/` and `jpeg/<series>/*.jpg`. A subset of the images is sufficient.

- `lesion`: the merged outlines of all masses and calcifications of an image. The mask and the crop in an outline's
  folder are distinguished by size, since the tables mix them up. Every image has a lesion.
- `pathology`: the most severe pathology of an image's lesions. DDSM verified them, the malignant ones by biopsy.
  Lesions
  labeled BENIGN_WITHOUT_CALLBACK, which were considered benign without further work-up, count as benign. If the
  pathology of a lesion is missing, the image has a pathology only if another lesion is malignant.
- `breast_density`: 1 to 4 become A to D; 0 (unknown) is omitted.

The official test tables define the test section. Masses and calcifications were split independently, so a patient of
one test table may be in the training table of the other. Images of such patients that no test table lists are excluded.
15% of the training images, split by patient, become the validation section.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from mtmedformer_monai.data.datalist import Datalist, Item
from mtmedformer_monai.data.image_size import read_image_size
from mtmedformer_monai.data.missing import id_text
from mtmedformer_monai.data.split import hold_out_validation, if_labeled

from .cbis_files import CbisFiles, find_cbis_files, read_outline
from .drawn_masks import annotate_lesions
from .label_table import Row, read_choice, read_table
from .mammogram_item import ImageFacts, make_mammogram, read_density
from .set_files import SetFolder, place_of, show_progress

logger = logging.getLogger(__name__)

PATHOLOGIES = {"BENIGN_WITHOUT_CALLBACK": "benign", "BENIGN": "benign", "MALIGNANT": "malignant"}
"""In order of increasing severity."""

COLUMNS = ("patient_id", "left or right breast", "image view", "pathology", "image file path", "ROI mask file path")
CROP = "cropped image file path"
DENSITY = "breast_density"
"""Column title in the tables of masses; those of calcifications spell it with a space."""

Film = tuple[str, str, str]
"""(patient, side, view), which identify a film."""


def convert(folder: Path, masks_folder: Path) -> Datalist:
    """Creates the datalist.

    Args:
        folder: dataset folder in one of the layouts above.
        masks_folder: output folder of the merged masks.

    Returns:
        Datalist with image paths relative to `folder` and absolute mask paths.

    Raises:
        FileNotFoundError: a table is missing, or there are no images.
        ValueError: a table lacks a column or contains an unknown pathology.
    """
    files = find_cbis_files(folder)
    films, tested = _list_films(files.folder)
    training: list[Item] = []
    test: list[Item] = []
    for film, rows in show_progress(films.items(), "Masks", "film"):
        item = _make_item(film, rows, files, masks_folder)
        if item is not None:
            (test if film in tested else training).append(item)
    files.folder.log_present(len(training) + len(test), len(films))
    sections = hold_out_validation(training, if_labeled(training, "pathology")) if training else {}
    return {"name": "cbis_ddsm", "licence": "CC BY 3.0", **sections, "test": test}


def _list_films(files: SetFolder) -> tuple[dict[Film, list[Row]], set[Film]]:
    """Returns the rows per film, without training films of test patients, and the set of test films."""
    tested_rows = _read_tables(files, "test")
    tested = {_film(row) for row in tested_rows}
    patients = {patient for patient, _, _ in tested}
    films: dict[Film, list[Row]] = {}
    for row in tested_rows + _read_tables(files, "train"):
        films.setdefault(_film(row), []).append(row)
    kept = {film: rows for film, rows in films.items() if film in tested or film[0] not in patients}
    logger.info("%d films of test patients that no test table lists are excluded.", len(films) - len(kept))
    return kept, tested


def _read_tables(files: SetFolder, part: str) -> list[Row]:
    rows = []
    for kind in ("mass", "calc"):
        name = f"{kind}_case_description_{part}_set"
        path = files.table_path(name, f"{name}.csv")
        for row in read_table(path, [*COLUMNS, CROP], optional=[DENSITY]):
            known = read_choice(row["pathology"], PATHOLOGIES, "a pathology of", path) if row["pathology"] else ""
            rows.append(row | {"pathology": known})
    return rows


def _film(row: Row) -> Film:
    if not row["patient_id"]:
        raise ValueError("a table of CBIS-DDSM expects a patient_id in every row; use the original tables.")
    return id_text(row["patient_id"]), row["left or right breast"], row["image view"]


def _make_item(film: Film, rows: Sequence[Row], files: CbisFiles, masks_folder: Path) -> Item | None:
    """Returns the item of a film from the rows of its lesions; None if its image is missing."""
    found = [path for row in rows for path in files.find(row["image file path"])]
    if not found:
        return None
    patient, side, view = film
    labels = {
        "pathology": _worst([row["pathology"] for row in rows]),
        "breast_density": read_density(rows[0].get(DENSITY, "")),
    }
    annotations = _annotate(found[0], rows, files, masks_folder / f"{patient}_{side}_{view}.png")
    facts = ImageFacts(patient, patient, side, view)
    return make_mammogram(place_of(found[0], files.folder.folder), facts, labels, annotations)


def _worst(pathologies: Sequence[str]) -> str | None:
    """Returns the most severe pathology; None if a lesion with unknown pathology might be more severe."""
    known = [name for name in pathologies if name]
    worst = max(known, key=list(PATHOLOGIES).index, default="")
    return PATHOLOGIES[worst] if worst and (len(known) == len(pathologies) or worst == "MALIGNANT") else None


def _annotate(image: Path, rows: Sequence[Row], files: CbisFiles, output: Path) -> Item:
    """Returns mask and boxes; empty if an outline is missing or invalid, since they would then be incomplete."""
    size = read_image_size(image)
    outlines = []
    for row in rows:
        outline = read_outline(files.find(row["ROI mask file path"], row[CROP]), size)
        if outline is None or not outline.any():
            logger.warning(
                "%s: an outline is missing or does not match the image; its lesions are not annotated.", output.stem
            )
            return {}
        outlines.append(outline)
    return annotate_lesions(outlines, size, output)
