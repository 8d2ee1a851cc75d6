"""Converter of the SIIM-ACR Pneumothorax Segmentation challenge: masks of pneumothoraces.

Source: Filice et al., "Crowdsourcing pneumothorax annotations using machine learning annotations on the NIH chest X-ray
dataset", Journal of Digital Imaging 33 (2020), 490-496, https://doi.org/10.1007/s10278-019-00299-9; files at
https://www.kaggle.com/c/siim-acr-pneumothorax-segmentation.

License: by the challenge's rules for research and education, not for profit; name SIIM, ACR and the NIH Clinical
Center.

Releases that are known: Kaggle's `stage_2_train.csv` or `train-rle.csv`, with `dicom-images-train/*/*/<ImageId>.dcm`,
`stage_2_images/<ImageId>.dcm`, or PNG copies under the same names. Images without a label are left out.

- `pneumothorax`: a structure of its own, which needs a segmentation task in the bundle's config. Several runs of an
  image are merged; -1 is an empty mask. An empty cell says nothing: such an image has no mask, nor has one with -1
  beside runs.
- Runs count the pixels of the 1024 px originals. Where PNG copies are smaller, masks are scaled by nearest neighbor.

Patients are taken from the DICOM headers, which may name one per image: some of ChestX-ray14's patients stand in two
sections then. There is no official split of what is labeled: 70 / 15 / 15. Don't join it with sets out of ChestX-ray14.
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
"""Of PNG copies, which lie beside folders of masks under the same names."""

STRUCTURE = "pneumothorax"
NOTHING = {"-1", "-1.0"}
"""The set's word for none, and what pandas makes of it."""

ORIGINAL_SIZE = (1024, 1024)
RELEASE = "stage_2_train.csv or train-rle.csv with dicom-images-train/*/*/*.dcm or stage_2_images/*.dcm of Kaggle"


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
    """Whether the images are smaller copies: PNG files, of which one is left by its runs."""
    for name, image in images.items():
        if image.suffix.lower() in PICTURES:
            height, width = read_image_size(image)
            if any(sum(_numbers(text)) > height * width for text in runs[name] if text not in NOTHING):
                return True
    return False


def draw_runs(texts: Sequence[str], size: tuple[int, int], is_shrunk: bool = False) -> Mask | None:
    """Merges all that the table says of an image.

    Args:
        texts: runs, or -1 for none.
        size: (H, W) of the image.
        is_shrunk: whether the runs count the pixels of the original, and the image is a smaller copy.

    Returns:
        bool (H, W); None where the table is silent or contradicts itself.
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
    """Draws runs: pairs of a gap after the last run and a length, down the columns from the left.

    Args:
        text: numbers with spaces between.
        size: (H, W) of the image.

    Returns:
        bool (H, W).

    Raises:
        ValueError: there are no numbers, which says nothing of the image, or they are no pairs, or leave it.

    Example:
        >>> decode_runs("1 2 2 1", (3, 2)).astype(int).tolist()
        [[0, 0], [1, 0], [1, 1]]
    """
    numbers = _numbers(text)
    if not numbers:
        raise ValueError(
            "runs expect pairs of numbers, got none: the image is not annotated; the set writes -1 for none."
        )
    if len(numbers) % 2 or min(numbers) < 0 or sum(numbers) > size[0] * size[1]:
        raise ValueError(f"runs expect pairs within {size[0]} x {size[1]} pixels; fetch the set's own table and files.")
    flags = np.tile([False, True], len(numbers) // 2)
    flat = np.zeros(size[0] * size[1], dtype=bool)
    drawn = np.repeat(flags, numbers)
    flat[: len(drawn)] = drawn
    return flat.reshape(size[1], size[0]).T


def _numbers(text: str) -> list[int]:
    try:
        return [int(number) for number in text.split()]
    except ValueError as error:
        raise ValueError(f"runs expect whole numbers, got {text[:40]!r}; fetch the set's own table.") from error
