"""Converter of the SIIM-ACR Pneumothorax Segmentation challenge: masks of pneumothoraces.

Source: Filice et al., "Crowdsourcing pneumothorax annotations using machine learning annotations on the NIH chest X-ray
dataset", Journal of Digital Imaging 33 (2020), 490-496, https://doi.org/10.1007/s10278-019-00299-9; files at
https://www.kaggle.com/c/siim-acr-pneumothorax-segmentation.

License: challenge rules, for non-profit research and education; attribute SIIM, ACR and the NIH Clinical Center.

Supported releases: Kaggle's `stage_2_train.csv` or `train-rle.csv`, with `dicom-images-train/*/*/<ImageId>.dcm`,
`stage_2_images/<ImageId>.dcm`, or PNG copies with the same names. Images without a label are excluded.

- `pneumothorax`: a separate structure, which requires a segmentation task in the bundle's config. Several run-length
  encodings of an image are merged; -1 is an empty mask. Images with an empty cell, or with both -1 and runs, are not
  annotated.
- Runs count the pixels of the originals of 1024 x 1024 pixels. For smaller PNG copies, masks are resampled with
  nearest-neighbor interpolation.

Patients are taken from the DICOM headers, which may contain a different ID for each image, so that patients of
ChestX-ray14 may be in several sections. There is no official split of the labeled images: 70/15/15. Do not join it with
datasets derived from ChestX-ray14.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pydicom

from mtmedformer_monai.data.array_types import Mask
from mtmedformer_monai.data.datalist import Datalist, Item
from mtmedformer_monai.data.image_size import read_image_size
from mtmedformer_monai.data.missing import id_text
from mtmedformer_monai.data.split import split_by_patient

from .drawn_masks import save_mask
from .set_files import PICTURES, RADIOGRAPHS, SetFolder, place_of, show_progress

NOT_MASKS = r"^(?!.*mask[^/]*/)"
"""Excludes mask folders, whose files have the names of the PNG copies."""

STRUCTURE = "pneumothorax"
NOTHING = {"-1", "-1.0"}
"""The dataset's code for an empty mask, also as pandas writes it."""

ORIGINAL_SIZE = (1024, 1024)
RELEASE = "stage_2_train.csv or train-rle.csv with dicom-images-train/*/*/*.dcm or stage_2_images/*.dcm of Kaggle"


def convert(folder: Path, masks_folder: Path) -> Datalist:
    """Creates the datalist.

    Args:
        folder: dataset folder.
        masks_folder: output folder of the masks decoded from the runs.

    Returns:
        Datalist with image paths relative to `folder` and absolute mask paths.

    Raises:
        FileNotFoundError: the table or the images are missing.
        ValueError: the table lacks a column, or runs do not fit the image.
    """
    files = SetFolder(folder, RELEASE)
    runs: dict[str, list[str]] = {}
    for row in files.table("stage_2_train|(stage_1_)?train-rle", "stage_2_train.csv", ["ImageId", "EncodedPixels"]):
        runs.setdefault(row["ImageId"], []).append(row["EncodedPixels"])
    found = {path.stem: path for path in reversed(files.find(NOT_MASKS, RADIOGRAPHS))}
    images = {name: found[name] for name in runs if name in found}
    files.log_present(len(images), len(runs))
    is_shrunk = _is_shrunk(images, runs)
    items = []
    for name, image in show_progress(images.items(), "Masks", "image"):
        items.append(_make_item(image, folder))
        mask = draw_runs(runs[name], read_image_size(image), is_shrunk)
        if mask is not None:
            items[-1]["masks"] = {STRUCTURE: str(save_mask(mask, masks_folder / f"{name}.png").resolve())}
    return {"name": "siim_acr", "licence": "challenge rules: non-profit", **split_by_patient(items)}


def _make_item(image: Path, folder: Path) -> Item:
    patient = ""
    if image.suffix.lower() not in PICTURES:
        header = pydicom.dcmread(image, stop_before_pixels=True, specific_tags=["PatientID"])
        patient = id_text(header.get("PatientID"))
    return {"image": place_of(image, folder), "patient_id": patient or image.stem}


def _is_shrunk(images: Mapping[str, Path], runs: Mapping[str, Sequence[str]]) -> bool:
    """Returns whether the images are downsampled copies: PNG files, at least one of which is exceeded by its runs."""
    for name, image in images.items():
        if image.suffix.lower() in PICTURES:
            height, width = read_image_size(image)
            if any(sum(_numbers(text)) > height * width for text in runs[name] if text not in NOTHING):
                return True
    return False


def draw_runs(texts: Sequence[str], size: tuple[int, int], is_shrunk: bool = False) -> Mask | None:
    """Decodes and merges all entries of an image.

    Args:
        texts: entries of the table: runs, or -1 for an empty mask.
        size: (H, W) of the image.
        is_shrunk: whether the image is a downsampled copy; runs count the pixels of the original.

    Returns:
        bool (H, W); None if an entry is empty, or the entries contradict each other.
    """
    is_none = {text in NOTHING for text in texts}
    if not all(texts) or len(is_none) > 1:
        return None
    mask = np.zeros(ORIGINAL_SIZE if is_shrunk else size, dtype=bool)
    for text in texts if is_none == {False} else ():
        mask |= decode_runs(text, mask.shape)
    if not is_shrunk:
        return mask
    rows, columns = (((np.arange(n) + 0.5) * whole / n).astype(int) for n, whole in zip(size, mask.shape, strict=True))
    return mask[np.ix_(rows, columns)]


def decode_runs(text: str, size: tuple[int, ...]) -> Mask:
    """Decodes a relative run-length encoding: pairs of gap and length, column by column from the left.

    Args:
        text: space-separated numbers.
        size: (H, W) of the image.

    Returns:
        bool (H, W).

    Raises:
        ValueError: there are no numbers, the numbers are not pairs, or the runs exceed the image.

    Example:
        >>> decode_runs("1 2 2 1", (3, 2)).astype(int).tolist()
        [[0, 0], [1, 0], [1, 1]]
    """
    numbers = _numbers(text)
    if not numbers:
        raise ValueError(
            "runs expect pairs of numbers, got none: the image is not annotated; an empty mask is written as -1."
        )
    if len(numbers) % 2 or min(numbers) < 0 or sum(numbers) > size[0] * size[1]:
        raise ValueError(f"runs expect pairs within {size[0]} x {size[1]} pixels; use the original table and files.")
    flags = np.tile([False, True], len(numbers) // 2)
    flat = np.zeros(size[0] * size[1], dtype=bool)
    drawn = np.repeat(flags, numbers)
    flat[: len(drawn)] = drawn
    return flat.reshape(size[1], size[0]).T


def _numbers(text: str) -> list[int]:
    try:
        return [int(number) for number in text.split()]
    except ValueError as error:
        raise ValueError(f"runs expect whole numbers, got {text[:40]!r}; use the original table.") from error
