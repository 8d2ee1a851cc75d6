"""Converter of the SIIM-ACR Pneumothorax Segmentation challenge: masks of pneumothoraces.

Source: Filice et al., "Crowdsourcing pneumothorax annotations using machine learning annotations on the NIH chest X-ray
dataset", Journal of Digital Imaging 33 (2020), 490-496, https://doi.org/10.1007/s10278-019-00299-9; files at
https://www.kaggle.com/c/siim-acr-pneumothorax-segmentation.

Licence: by the challenge's rules for research and education, not for profit; name SIIM, ACR and the NIH Clinical
Center.

Layout (Kaggle's): `stage_2_train.csv` or `train-rle.csv`, and `dicom-images-train/*/*/<ImageId>.dcm` or
`stage_2_images/<ImageId>.dcm`. Images without a label are left out.

- `pneumothorax`: a structure of its own, which needs a segmentation task in the bundle's config. Several runs of an
  image are merged; -1 is an empty mask.

Patients are those that the DICOM headers tell, which may be one an image: some of ChestX-ray14's patients stand in two
sections then. There is no official split of what is labeled: 70 / 15 / 15. Don't join it with sets out of ChestX-ray14.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
from tqdm import tqdm

from mtmedformer_monai.data.array_types import Mask
from mtmedformer_monai.data.datalist import Datalist, Item
from mtmedformer_monai.data.image_size import read_image_size
from mtmedformer_monai.data.split import split_by_patient

from .drawn_masks import save_mask
from .label_table import read_table
from .set_files import index_files, place_of, tell_present

TABLES = ("stage_2_train.csv", "train-rle.csv")
PATTERNS = ("dicom-images-*/*/*/*.dcm", "stage_2_images/*.dcm")
STRUCTURE = "pneumothorax"
NOTHING = "-1"


def convert(folder: Path, masks_folder: Path) -> Datalist:
    """Makes the datalist.

    Args:
        folder: of the set.
        masks_folder: where the masks go that are drawn from the runs.

    Returns:
        Datalist with paths relative to `folder`, and absolute ones of the masks.

    Raises:
        FileNotFoundError: the table or the images are missing.
        ValueError: the table lacks a column, or runs are none of the image.
    """
    table = next((folder / name for name in TABLES if (folder / name).is_file()), folder / TABLES[0])
    runs: dict[str, list[str]] = {}
    for row in read_table(table, ["ImageId", "EncodedPixels"]):
        runs.setdefault(row["ImageId"], []).append(row["EncodedPixels"])
    images = {path.stem: path for path in index_files(folder, *PATTERNS).values()}
    labeled = [name for name in runs if name in images]
    tell_present(len(labeled), len(runs), folder)
    items = []
    for name in tqdm(labeled, desc="Masks", unit="image", mininterval=2.0):
        items.append(_make_item(images[name], runs[name], masks_folder / f"{name}.png", folder))
    return {"name": "siim_acr", "licence": "challenge rules: non-profit", **split_by_patient(items)}


def _make_item(image: Path, runs: Sequence[str], output: Path, folder: Path) -> Item:
    size = read_image_size(image)
    mask = np.zeros(size, dtype=bool)
    for text in runs:
        if text != NOTHING:
            mask |= decode_runs(text, size)
    header = pydicom.dcmread(image, stop_before_pixels=True, specific_tags=["PatientID"])
    path = str(save_mask(mask, output).resolve())
    patient = str(header.get("PatientID") or image.stem)
    return {"image": place_of(image, folder), "masks": {STRUCTURE: path}, "patient_id": patient}


def decode_runs(text: str, size: tuple[int, int]) -> Mask:
    """Draws runs: pairs of a gap after the last run and a length, down the columns from the left.

    Args:
        text: numbers with spaces between.
        size: (H, W) of the image.

    Returns:
        bool (H, W).

    Raises:
        ValueError: the numbers are no pairs, or leave the image.

    Example:
        >>> decode_runs("1 2 2 1", (3, 2)).astype(int).tolist()
        [[0, 0], [1, 0], [1, 1]]
    """
    numbers = [int(number) for number in text.split()]
    if len(numbers) % 2 or sum(numbers) > size[0] * size[1]:
        raise ValueError(f"runs expect pairs within {size[0]} x {size[1]} pixels; fetch the set's own table and files.")
    flags = np.tile([False, True], len(numbers) // 2)
    flat = np.zeros(size[0] * size[1], dtype=bool)
    drawn = np.repeat(flags, numbers)
    flat[: len(drawn)] = drawn
    return flat.reshape(size[1], size[0]).T
