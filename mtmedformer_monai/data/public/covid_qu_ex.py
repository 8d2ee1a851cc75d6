"""Converter of COVID-QU-Ex: lung masks on all, masks of infected regions on some, normal or pneumonia.

Source: Tahir et al., "COVID-19 infection localization and severity grading from chest X-ray images", Computers in
Biology and Medicine 139 (2021), 105002, https://doi.org/10.1016/j.compbiomed.2021.105002; files at
https://www.kaggle.com/datasets/anasmohammedtahir/covidqu (https://doi.org/10.34740/kaggle/dsv/3122958). 33,920 images
of 256 x 256 px, gathered from public sets.

Licence: as its page at Kaggle states; the images each by their source, some for non-commercial use. Cite the paper.

Layout: `Lung Segmentation Data/{Train,Val,Test}/{COVID-19,Non-COVID,Normal}/{images,lung masks}/*.png` and `Infection
Segmentation Data/...` likewise with `infection masks`; each folder may hold another of its own name first, as Kaggle's
archive does. One of the two will do.

- `finding`: COVID-19 and Non-COVID (other viral or bacterial pneumonia) are 'pneumonia', Normal is 'normal'.
- `lung`: outlined by people and networks in turn, mended by hand.
- `opacity`: the infected regions of COVID-19, and the empty masks of normal images. Those of Non-COVID images are empty
  too, which says that they have no COVID-19, and nothing of their opacities: they are left out.

The official split stays. The images of the second part stand in the first as well, maybe elsewhere: an image is told
by its pixels, and stays in its section of the first part; of copies in two sections the test's is kept, then the
validation's. Patients are not told, so each image counts as one of its own. Don't join it with `kermany`,
`nih_chestxray14`, `rsna_pneumonia`, `siim_acr` or `v7_lungs`: it may hold their images.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from mtmedformer_monai.data.datalist import Datalist, Item

from .set_files import place_of

logger = logging.getLogger(__name__)

PARTS = ("Lung Segmentation Data", "Infection Segmentation Data")
SECTIONS = {"Test": "test", "Val": "validation", "Train": "training"}
"""In the order in which copies are kept."""

FINDINGS = {"COVID-19": "pneumonia", "Non-COVID": "pneumonia", "Normal": "normal"}
MASKS = {"lung": "lung masks", "opacity": "infection masks"}
WITHOUT_OPACITIES_DRAWN = "Non-COVID"


def convert(folder: Path) -> Datalist:
    """Makes the datalist.

    Args:
        folder: of the set.

    Returns:
        Datalist with paths relative to `folder`.

    Raises:
        FileNotFoundError: no image is there.
    """
    sections: dict[str, list[Item]] = {section: [] for section in reversed(SECTIONS.values())}
    seen: dict[str, Item] = {}
    copies = 0
    for section, kind, image in tqdm(list(_find_images(folder)), desc="Images", unit="image", mininterval=2.0):
        item = _make_item(image, kind, folder)
        first = seen.setdefault(_digest(image), item)
        if first is item:
            sections[section].append(item)
        else:
            first["masks"] = item["masks"] | first["masks"]
            copies += 1
    if not seen:
        raise FileNotFoundError(
            f"{folder} expects {' or '.join(PARTS)} with {list(SECTIONS)}, in these {list(FINDINGS)}, in these images/ "
            "and masks; unpack the set there."
        )
    logger.info("%d images are copies of others; their masks have been merged.", copies)
    return {"name": "covid_qu_ex", "licence": "see its page; images by source", **sections}


def _find_images(folder: Path) -> Iterator[tuple[str, str, Path]]:
    """Section, class and file of all images, in the order in which copies are kept."""
    for part in PARTS:
        root = folder / part / part if (folder / part / part).is_dir() else folder / part
        for name, section in SECTIONS.items():
            for kind in FINDINGS:
                for image in sorted((root / name / kind / "images").glob("*.png")):
                    yield section, kind, image


def _make_item(image: Path, kind: str, folder: Path) -> Item:
    masks = {}
    for structure, name in MASKS.items():
        mask = image.parent.parent / name / image.name
        if mask.is_file() and (structure, kind) != ("opacity", WITHOUT_OPACITIES_DRAWN):
            masks[structure] = place_of(mask, folder)
    return {
        "image": place_of(image, folder),
        "masks": masks,
        "labels": {"finding": FINDINGS[kind]},
        "patient_id": place_of(image, folder).removesuffix(".png"),
    }


def _digest(image: Path) -> str:
    with Image.open(image) as picture:
        return hashlib.sha256(np.asarray(picture.convert("L")).tobytes()).hexdigest()
