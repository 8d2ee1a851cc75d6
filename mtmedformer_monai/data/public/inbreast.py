"""Converter of INbreast: full-field digital mammograms with contours drawn by specialists.

Source: Moreira et al., "INbreast: Toward a Full-field Digital Mammographic Database", Academic Radiology 19 (2012),
236-248, https://doi.org/10.1016/j.acra.2011.09.014. 410 images of 115 examinations, one hospital.

License: for research, on request from the authors (INESC TEC, Porto); cite the paper. Not to be passed on.

Releases that are known: INbreast Release 1.0 with `INbreast.csv` (semicolons; the `INbreast.xls` beside it holds the
same), `AllDICOMs/*.dcm`, `AllXML/*.xml`, at any depth; the table may be saved as .xlsx, the images as PNG.

- `lesion`: contours of masses, clusters, distortions, asymmetries and spiculated regions. Single calcifications, which
  most breasts have, are no lesion: an image with nothing else marked has no annotation, rather than an empty one. The
  images of BI-RADS 1 have no XML file: their masks are empty. Without one, any other image is not annotated.
- `breast_density`: ACR 1 to 4 become A to D.
- `birads`: the reader's assessment, a task of its own. **No `pathology`**: the tables do not say which of the 56
  biopsied lesions were malignant, and a BI-RADS category is an opinion.

There is no official split: 70 / 15 / 15 by patient, who is told by the second part of a DICOM file's name. A study
holds a patient's images of one acquisition date.
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
from mtmedformer_monai.data.split import split_by_patient

from .drawn_masks import annotate_lesions
from .fill_polygon import fill_polygon
from .label_table import Row
from .mammogram_item import ImageFacts, make_mammogram, read_birads, read_density
from .set_files import PICTURES, RADIOGRAPHS, SetFolder, place_of, show_progress

COLUMNS = ("Laterality", "View", "Acquisition date", "File Name", "ACR", "Bi-Rads")
LESIONS = {"mass", "cluster", "distortion", "asymmetry", "assymetry", "spiculated region", "espiculated region"}
"""Names of contours, with the set's own spellings."""

NEGATIVE = "1"
"""BI-RADS category without any finding."""

MIN_CORNERS = 3
RELEASE = "INbreast.csv, AllDICOMs/*.dcm and AllXML/*.xml of INbreast Release 1.0"

Contour = list[tuple[float, float]]


def convert(folder: Path, masks_folder: Path) -> Datalist:
    """Makes the datalist.

    Args:
        folder: of the set.
        masks_folder: where the masks go that are drawn from the contours.

    Returns:
        Datalist with paths relative to `folder`, and absolute ones of the masks.

    Raises:
        FileNotFoundError: the table or the images are missing.
        ValueError: the table lacks a column, or a contour file is broken.
    """
    files = SetFolder(folder, RELEASE)
    rows = files.table("INbreast", "INbreast.csv", COLUMNS)
    rows = [row | {"File Name": id_text(row["File Name"]).removesuffix(".dcm")} for row in rows]
    found = files.images(r"(^|/)\d+(_[^/]*)?$", RADIOGRAPHS, "AllDICOMs/*.dcm")
    images = {stem.split("_")[0]: path for stem, path in reversed(found.items())}
    contours = files.by_stem(r"(^|/)all_?-?xml/[^/]+$", (".xml",))
    if not contours:
        raise files.lacks("AllXML/*.xml, without which every image would seem to have no lesion")
    listed = [row for row in rows if row["File Name"] in images]
    files.log_present(len(listed), len(rows))
    items = []
    for row in show_progress(listed, "Masks", "image"):
        name = row["File Name"]
        is_negative = read_birads(row["Bi-Rads"]) == NEGATIVE
        annotations = _annotate(images[name], contours.get(name), is_negative, masks_folder / f"{name}.png")
        items.append(_make_item(row, images[name], folder, annotations))
    return {"name": "inbreast", "licence": "research, on request", **split_by_patient(items, stratify_on="birads")}


def _make_item(row: Row, image: Path, folder: Path, annotations: Mapping[str, Any]) -> Item:
    parts = image.name.split("_")
    if len(parts) < 3:
        raise ValueError(f"{image} expects a name as 20586908_6c613a14b80a8591_MG_R_CC_ANON.dcm; don't rename files.")
    facts = ImageFacts(parts[1], f"{parts[1]}-{id_text(row['Acquisition date'])}", row["Laterality"], row["View"])
    labels = {"breast_density": read_density(row["ACR"]), "birads": read_birads(row["Bi-Rads"])}
    return make_mammogram(place_of(image, folder), facts, labels, annotations)


def _annotate(image: Path, contours: Path | None, is_negative: bool, output: Path) -> Item:
    """Mask and boxes; empty ones of a negative image without contours.

    Nothing where only calcifications or points are marked, where a lesion's contour has no area, and where another
    image's contours are missing.
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
    """Refuses a picture that contours leave: it is smaller than the DICOM file that they were drawn on."""
    corners = [corner for contour in contours for corner in contour]
    if image.suffix.lower() in PICTURES and any(x > width + 1 or y > height + 1 for x, y in corners):
        raise ValueError(
            f"{image} expects the size of its DICOM file, got {width} x {height}; convert the DICOM files."
        )


def read_contours(path: Path) -> Sequence[tuple[str, Contour]]:
    """Names and corners, (x, y) in pixels, of what is marked in an image.

    The files are Apple property lists as OsiriX exports them: `Images`, in each `ROIs` with `Name` and `Point_px`.

    Raises:
        ValueError: it is none.
    """
    try:
        with path.open("rb") as stream:
            content = plistlib.load(stream, fmt=plistlib.FMT_XML)
        marked = [roi for image in content["Images"] for roi in image["ROIs"]]
        return [(roi["Name"].strip(), _corners(roi["Point_px"])) for roi in marked]
    except (plistlib.InvalidFileException, ExpatError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} expects contours as a property list with Images and ROIs; fetch it again.") from error


def _corners(points: Sequence[str]) -> Contour:
    """Out of '(2179.663086, 2015.989990)'."""
    pairs = [point.strip("() ").split(",") for point in points]
    return [(float(x), float(y)) for x, y in pairs]
