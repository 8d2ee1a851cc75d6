"""Converter of COVID-QU-Ex: chest X-rays with lung masks, infection masks on some, and normal or pneumonia labels.

Source: Tahir et al., "COVID-19 infection localization and severity grading from chest X-ray images", Computers in
Biology and Medicine 139 (2021), 105002, https://doi.org/10.1016/j.compbiomed.2021.105002; files at
https://www.kaggle.com/datasets/anasmohammedtahir/covidqu (https://doi.org/10.34740/kaggle/dsv/3122958). 33,920 images
of 256 x 256 pixels, collected from public datasets.

License: see its page on Kaggle; the images have the licenses of their sources, some non-commercial. Cite the paper.

Supported release: Kaggle's, with `Lung Segmentation Data/{Train,Val,Test}/{COVID-19,Non-COVID,Normal}/`, each with
`images` and `lung masks`, and `Infection Segmentation Data/...`, additionally with `infection masks`, at any depth
(Kaggle's archive nests them twice), as PNG or JPEG files. One of the two parts is sufficient.

- `finding`: COVID-19 and Non-COVID (other viral or bacterial pneumonia) are 'pneumonia', Normal is 'normal'.
- `lung`: outlined by experts and networks alternately, and corrected manually.
- `opacity`: the infection masks of COVID-19 images, and the empty masks of normal images. The empty masks of Non-COVID
  images are excluded, since they only indicate that there is no COVID-19, not that there are no opacities. Empty masks
  of COVID-19 images and non-empty masks of normal images are also excluded.
- Masks with more than two values, because they are or were JPEG files, are written again with a threshold of half.

The official split is kept. The second part repeats images of the first, possibly in another section. Images are
identified by their pixels and keep the section of the first part; of duplicates in several sections, the one in the
test
section is kept, or else the one in the validation section. Patients are not identified, so each image counts as a
separate patient. Do not join it with `kermany`, `nih_chestxray14`, `rsna_pneumonia`, `siim_acr` or `v7_lungs`, whose
images it may contain.
"""

from __future__ import annotations

import glob
import hashlib
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from mtmedformer_monai.data.datalist import Datalist, Item

from .drawn_masks import read_lossy, save_mask
from .set_files import PICTURES, SetFolder, place_of, show_progress

logger = logging.getLogger(__name__)

PARTS = ("Lung Segmentation Data", "Infection Segmentation Data")
SECTIONS = {"Test": "test", "Val": "validation", "Train": "training"}
"""Sections in the order in which duplicates are kept."""

FINDINGS = {"COVID-19": "pneumonia", "Non-COVID": "pneumonia", "Normal": "normal"}
MASKS = {"lung": "lung masks", "opacity": "infection masks"}
WITHOUT_OPACITIES_DRAWN = "Non-COVID"
_SPACE = re.compile("[ _-]")
"""Separators used in folder names by different copies of the dataset."""

RELEASE = "the folders 'Lung Segmentation Data' and 'Infection Segmentation Data' of Kaggle's archive"


def convert(folder: Path, masks_folder: Path | None = None) -> Datalist:
    """Creates the datalist.

    Args:
        folder: dataset folder.
        masks_folder: output folder of the masks that are written again; defaults to `masks_covid_qu_ex` in `folder`.

    Returns:
        Datalist with paths relative to `folder`.

    Raises:
        FileNotFoundError: there are no images.
    """
    sections: dict[str, list[Item]] = {section: [] for section in reversed(SECTIONS.values())}
    seen: dict[str, Item] = {}
    copies = 0
    files = SetFolder(folder, RELEASE)
    for section, kind, image in show_progress(_find_images(files), "Images", "image"):
        item = _make_item(image, kind, folder, masks_folder or folder / "masks_covid_qu_ex")
        first = seen.setdefault(_digest(image), item)
        if first is item:
            sections[section].append(item)
        else:
            first["masks"] = item["masks"] | first["masks"]
            copies += 1
    if not seen:
        raise files.lacks(f"{' or '.join(PARTS)} with {list(SECTIONS)}, in these {list(FINDINGS)}, in these images/")
    logger.info("%d images are duplicates; their masks have been merged.", copies)
    return {"name": "covid_qu_ex", "licence": "see its page; images by source", **sections}


def _find_images(files: SetFolder) -> Iterator[tuple[str, str, Path]]:
    """Yields section, class and file of all images, in the order in which duplicates are kept."""
    for part in PARTS:
        for name, section in SECTIONS.items():
            for kind in FINDINGS:
                for image in files.find(
                    _SPACE.sub("[ _-]?", f"(^|/){part}/(.*/)?{name}/{kind}/images/[^/]+$"), PICTURES
                ):
                    yield section, kind, image


def _make_item(image: Path, kind: str, folder: Path, masks_folder: Path) -> Item:
    masks = {}
    for structure, pattern in MASKS.items():
        drawn = _mask_beside(image, pattern)
        mask = drawn and _annotation(drawn, structure, kind, masks_folder / place_of(drawn, folder))
        if mask:
            masks[structure] = place_of(mask, folder)
    return {
        "image": place_of(image, folder),
        "masks": masks,
        "labels": {"finding": FINDINGS[kind]},
        "patient_id": Path(place_of(image, folder)).with_suffix("").as_posix(),
    }


def _mask_beside(image: Path, name: str) -> Path | None:
    """Returns the mask of an image in the sibling folder of the given name; the file extension may differ."""
    folders = [path for path in image.parent.parent.iterdir() if _SPACE.sub(" ", path.name.lower()) == name]
    found = (path for folder in folders for path in folder.glob(f"{glob.escape(image.stem)}.*"))
    return next((path for path in sorted(found) if path.suffix.lower() in PICTURES), None)


def _annotation(mask: Path, structure: str, kind: str, output: Path) -> Path | None:
    """Returns the path of a mask if it is a valid annotation: every image shows lungs, only COVID-19 infection."""
    if not mask.stat().st_size or (structure == "opacity" and kind == WITHOUT_OPACITIES_DRAWN):
        return None
    values, is_exact = read_lossy(mask)
    if values.any() == (structure == "opacity" and kind == "Normal"):
        logger.warning("%s contradicts its class and counts as not annotated.", mask.name)
        return None
    return mask if is_exact else save_mask(values, output.with_suffix(".png"))


def _digest(image: Path) -> str:
    with Image.open(image) as picture:
        return hashlib.sha256(np.asarray(picture.convert("L")).tobytes()).hexdigest()
