"""Converter of INbreast: full-field digital mammograms with contours drawn by specialists.

Source: Moreira et al., "INbreast: Toward a Full-field Digital Mammographic Database", Academic Radiology 19 (2012),
236-248, https://doi.org/10.1016/j.acra.2011.09.014. 410 images of 115 examinations, one hospital.

License: for research, on request from the authors (INESC TEC, Porto); cite the paper. No redistribution.

Supported releases: INbreast Release 1.0 with `INbreast.csv` (semicolon-separated; `INbreast.xls` has the same content),
`AllDICOMs/*.dcm` and `AllXML/*.xml`, at any depth. The table may be saved as .xlsx, and the images as PNG.

- `lesion`: contours of masses, clusters, distortions, asymmetries and spiculated regions. Individual calcifications,
  which most breasts have, are not lesions; images with no other mark are not annotated, rather than annotated as empty.
  Images of BI-RADS 1 have no XML file, and their masks are empty. Other images without an XML file are not annotated.
- `breast_density`: ACR 1 to 4 become A to D.
- `birads`: the reader's assessment, a separate task. **No `pathology`**: the tables do not state which of the 56
  biopsied lesions were malignant, and a BI-RADS category is only an assessment.

There is no official split: 70/15/15 by patient. Patients are identified by the second part of the DICOM file names. A
study consists of a patient's images with the same acquisition date.
"""

from __future__ import annotations

import plistlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

from mtmedformer_monai.data.datalist import Datalist, Item
from mtmedformer_monai.data.image_size import read_image_size
from mtmedformer_monai.data.missing import id_text
from mtmedformer_monai.data.split import if_labeled, split_by_patient

from .drawn_masks import annotate_lesions
from .fill_polygon import fill_polygon
from .label_table import Row
from .mammogram_item import ImageFacts, make_mammogram, read_birads, read_density
from .set_files import PICTURES, RADIOGRAPHS, SetFolder, place_of, show_progress

COLUMNS = ("Laterality", "View", "Acquisition date", "File Name", "ACR", "Bi-Rads")
LESIONS = {"mass", "cluster", "distortion", "asymmetry", "assymetry", "spiculated region", "espiculated region"}
"""Names of lesion contours, including the spelling variants in the dataset."""

NEGATIVE = "1"
"""BI-RADS category of images without findings."""

MIN_CORNERS = 3
RELEASE = "INbreast.csv, AllDICOMs/*.dcm and AllXML/*.xml of INbreast Release 1.0"

Contour = list[tuple[float, float]]


def convert(folder: Path, masks_folder: Path) -> Datalist:
    """Creates the datalist.

    Args:
        folder: dataset folder.
        masks_folder: output folder of the masks drawn from the contours.

    Returns:
        Datalist with image paths relative to `folder` and absolute mask paths.

    Raises:
        FileNotFoundError: the table, the images or the contours are missing.
        ValueError: the table lacks a column, or a contour file is damaged.
    """
    files = SetFolder(folder, RELEASE)
    rows = files.table("INbreast", "INbreast.csv", COLUMNS)
    rows = [row | {"File Name": id_text(row["File Name"]).removesuffix(".dcm")} for row in rows]
    found = files.images(r"(^|/)\d+(_[^/]*)?$", RADIOGRAPHS, "AllDICOMs/*.dcm")
    images = {stem.split("_")[0]: path for stem, path in reversed(found.items())}
    contours = files.by_stem(r"(^|/)all_?-?xml/[^/]+$", (".xml",))
    if not contours:
        raise files.lacks("AllXML/*.xml, without which all images would appear to have no lesion")
    listed = [row for row in rows if row["File Name"] in images]
    files.log_present(len(listed), len(rows))
    items = []
    for row in show_progress(listed, "Masks", "image"):
        name = row["File Name"]
        is_negative = read_birads(row["Bi-Rads"]) == NEGATIVE
        annotations = _annotate(images[name], contours.get(name), is_negative, masks_folder / f"{name}.png")
        items.append(_make_item(row, images[name], folder, annotations))
    sections = split_by_patient(items, stratify_on=if_labeled(items, "birads"))
    return {"name": "inbreast", "licence": "research, on request", **sections}


def _make_item(row: Row, image: Path, folder: Path, annotations: Mapping[str, Any]) -> Item:
    parts = image.name.split("_")
    if len(parts) < 3:
        raise ValueError(
            f"{image} expects a name such as 20586908_6c613a14b80a8591_MG_R_CC_ANON.dcm; do not rename the files."
        )
    facts = ImageFacts(parts[1], f"{parts[1]}-{id_text(row['Acquisition date'])}", row["Laterality"], row["View"])
    labels = {"breast_density": read_density(row["ACR"]), "birads": read_birads(row["Bi-Rads"])}
    return make_mammogram(place_of(image, folder), facts, labels, annotations)


def _annotate(image: Path, contours: Path | None, is_negative: bool, output: Path) -> Item:
    """Returns mask and boxes, which are empty for negative images without contours.

    Returns no annotations if only calcifications or points are marked, if a lesion's contour has no area, or if the
    contours of an image that is not negative are missing.
    """
    if contours is None and not is_negative:
        return {}
    marked = read_contours(contours) if contours is not None else []
    lesions = [contour for name, contour in marked if name.lower() in LESIONS]
    if (contours is not None and not lesions) or any(len(contour) < MIN_CORNERS for contour in lesions):
        return {}
    height, width = read_image_size(image)
    _check_scale(lesions, height, width, image)
    return annotate_lesions((fill_polygon(contour, height, width) for contour in lesions), (height, width), output)


def _check_scale(contours: Sequence[Contour], height: int, width: int, image: Path) -> None:
    """Rejects PNG images that contours exceed, since they are smaller than the DICOM files of the contours."""
    corners = [corner for contour in contours for corner in contour]
    if image.suffix.lower() in PICTURES and any(x > width + 1 or y > height + 1 for x, y in corners):
        raise ValueError(
            f"{image} expects the size of its DICOM file, got {width} x {height}; convert the DICOM files."
        )


def read_contours(path: Path) -> Sequence[tuple[str, Contour]]:
    """Reads the names and vertices, (x, y) in pixels, of the regions marked in an image.

    The files are Apple property lists exported by OsiriX: `Images`, each with `ROIs` that have `Name` and `Point_px`.

    Raises:
        ValueError: the file is not such a property list.
    """
    try:
        with path.open("rb") as stream:
            content = plistlib.load(stream, fmt=plistlib.FMT_XML)
        marked = [roi for image in content["Images"] for roi in image["ROIs"]]
        return [(roi["Name"].strip(), _corners(roi["Point_px"])) for roi in marked]
    except (plistlib.InvalidFileException, ExpatError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} expects contours as a property list with Images and ROIs; download it again."
        ) from error


def _corners(points: Sequence[str]) -> Contour:
    """Parses points such as '(2179.663086, 2015.989990)'."""
    pairs = [point.strip("() ").split(",") for point in points]
    return [(float(x), float(y)) for x, y in pairs]
