"""Converter of mini-MIAS: digitized films of both breasts, mediolateral oblique, with circles around abnormalities.

Source: Suckling et al., "The Mammographic Image Analysis Society Digital Mammogram Database", Excerpta Medica
International Congress Series 1069 (1994), 375-378; files at http://peipa.essex.ac.uk/info/mias.html. 322 films of 161
patients of the United Kingdom's screening program, reduced to 200 um per pixel. (The films at full resolution have been
published again at https://www.repository.cam.ac.uk/handle/1810/250394, under CC BY 2.0 UK, in another layout.)

License: MIAS license agreement, for research only; cite the paper; not to be sold or leased.

Supported releases: `Info.txt` and `mdb001.pgm` to `mdb322.pgm` as published, at any depth (`all-mias/` on Kaggle), or
PNG copies of the films, to whose size the circles are scaled; or `labels.csv` with the columns image, label,
density_mias, rois_json, patient_id, laterality_from_number, split, with circles in pixels of the images and the origin
at the upper left. PGM files are converted losslessly to PNG, since the transforms do not support PGM.

- `lesion`: the filled circles, which extend beyond the abnormality. Normal films have an empty mask. Films with an
  abnormality without a circle (widespread calcifications), or with a circle outside the breast or the image, are not
  annotated.
- `pathology`: the severity according to the archive's ground truth; its source is not documented per film.
- `mias_density`: fatty, glandular or dense. It cannot be mapped to the four BI-RADS classes and is a separate task.

Films 2n - 1 and 2n are the right and the left breast of one patient; all are MLO views. There is no official split:
70/15/15 by patient, or the split in the table.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from mtmedformer_monai.data.datalist import Datalist, Item
from mtmedformer_monai.data.split import if_labeled, split_by_patient

from .drawn_masks import annotate_lesions
from .fill_ellipse import fill_ellipse
from .label_table import SECTION_OF_SPLIT, has_label_table
from .mammogram_item import ImageFacts, make_mammogram
from .mias_tables import SIDE, Film, read_info, read_mias_labels
from .set_files import PICTURES, SetFolder, place_of, show_progress

RELEASE = "Info.txt and mdb001.pgm, ... of PEIPA or Kaggle"
DENSITIES = {"F": "fatty", "G": "glandular", "D": "dense"}
BESIDE_THE_BREAST = {"mdb212", "mdb214"}


def convert(folder: Path, masks_folder: Path, images_folder: Path) -> Datalist:
    """Creates the datalist.

    Args:
        folder: dataset folder in one of the layouts above.
        masks_folder: output folder of the masks drawn from the circles.
        images_folder: output folder of the PNG copies of PGM films.

    Returns:
        Datalist with image paths relative to `folder`, and absolute paths of masks and PNG copies.

    Raises:
        FileNotFoundError: the table or the films are missing.
        ValueError: the table is invalid, lacks a column, or contains a malformed line.
    """
    about = {"name": "mini_mias", "licence": "MIAS: research only"}
    if has_label_table(folder):
        films = read_mias_labels(folder)
        sections: dict[str, list[Item]] = {section: [] for section in SECTION_OF_SPLIT.values()}
        for film in show_progress(films, "Masks", "film"):
            sections[SECTION_OF_SPLIT[film.split]].append(_make_item(film, folder, masks_folder))
        return about | sections
    files = SetFolder(folder, RELEASE)
    films = read_info(files.table_path("info", "Info.txt"))
    found = files.images(r"(^|/)mdb\d{3}$", (".pgm", *PICTURES), "mdb001.pgm, ...")
    images = {stem.lower(): path for stem, path in found.items()}
    there = [film for film in films if film.name in images]
    files.log_present(len(there), len(films))
    items = []
    for film in show_progress(there, "Masks", "film"):
        film.image = images[film.name]
        if film.image.suffix.lower() == ".pgm":
            film.image = _copy_to_png(film.image, images_folder / f"{film.name}.png")
        _scale_circles(film)
        items.append(_make_item(film, folder, masks_folder))
    return about | split_by_patient(items, stratify_on=if_labeled(items, "pathology"))


def _copy_to_png(film: Path, output: Path) -> Path:
    output.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(film) as picture:
        picture.save(output)
    return output


def _scale_circles(film: Film) -> None:
    """Scales the circles to the film's image, which may be a smaller copy."""
    with Image.open(film.image) as picture:
        scale = picture.width / SIDE
    film.circles = [(x * scale, y * scale, radius * scale) for x, y, radius in film.circles]


def _make_item(film: Film, folder: Path, masks_folder: Path) -> Item:
    facts = ImageFacts(film.patient_id, film.patient_id, film.laterality, "MLO")
    labels = {"pathology": film.pathology, "mias_density": DENSITIES.get(film.density)}
    annotations = _annotate(film, masks_folder / f"{film.name}.png")
    return make_mammogram(place_of(film.image, folder), facts, labels, annotations)


def _annotate(film: Film, output: Path) -> Item:
    if film.lacks_circle or film.name in BESIDE_THE_BREAST:
        return {}
    with Image.open(film.image) as picture:
        width, height = picture.size
    discs = (fill_ellipse((x, y), (radius, radius), height, width) for x, y, radius in film.circles)
    return annotate_lesions(discs, (height, width), output)
