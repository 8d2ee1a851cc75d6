"""Shared functions for the two tuberculosis datasets of the National Library of Medicine (NLM)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from mtmedformer_monai.data.datalist import Item

from .set_files import PICTURES, SetFolder, place_of

PREFIXES = ("MCUCXR", "CHNCXR")
_NAME = re.compile(rf"({'|'.join(PREFIXES)})_\d{{4}}_([01])", re.IGNORECASE)
NO_IMAGES = r"(^|/)[^/]*(mask|annotation)[^/]*/|_mask$"
"""Paths of masks and outlines, some of which have the names of their images."""


def find_radiographs(files: SetFolder, prefix: str) -> list[Path]:
    """Returns the images of one of the two datasets, which some copies store in the same folder.

    Args:
        files: files of the dataset.
        prefix: prefix of the file names, one of `PREFIXES`.

    Raises:
        FileNotFoundError: there are no images.
        ValueError: the image folder contains a file of another dataset.
    """
    named = files.find(rf"(^|/){prefix}_\d{{4}}_[01]$", PICTURES)
    masks = set(files.find(NO_IMAGES, PICTURES))
    folders = {path.parent for path in named if path not in masks}
    found: dict[str, Path] = {}
    for path in files.find("", PICTURES):
        if path.parent in folders and path not in masks and _prefix_of(path) == prefix:
            found.setdefault(path.stem, path)
    if not found:
        raise files.lacks(f"CXR_png/{prefix}_0001_0.png, ...")
    return list(found.values())


def read_readings(files: SetFolder) -> dict[str, Path]:
    """Returns {image name: path of its reading} from the folder `ClinicalReadings`."""
    return files.by_stem(r"(^|/)[^/]*readings?[^/]*/[^/]+$", (".txt",))


def make_item(image: Path, folder: Path, masks: dict[str, str], readings: Mapping[str, Path]) -> Item:
    """Creates the item of one image; each image is of a different patient.

    Args:
        image: path with a name such as `MCUCXR_0001_0.png`, whose last digit is 1 for tuberculosis.
        folder: dataset folder.
        masks: {structure: path}; empty if there are none.
        readings: {image name: path} of text files.

    Returns:
        Item with the label `tuberculosis`, and with `finding` if both name and reading are normal. Other images have no
        `finding`, since tuberculosis is not a pneumonia of that task.
    """
    ill = image.stem.endswith("1")
    labels = {"tuberculosis": "present" if ill else "absent"}
    if not ill and _reads_normal(readings.get(image.stem)):
        labels["finding"] = "normal"
    item: Item = {"image": place_of(image, folder), "labels": labels, "patient_id": image.stem}
    return item | ({"masks": masks} if masks else {})


def _prefix_of(image: Path) -> str:
    match = _NAME.fullmatch(image.stem)
    if match is None:
        raise ValueError(
            f"{image} expects a name such as MCUCXR_0001_0 or CHNCXR_0001_0; remove files of other datasets."
        )
    return match[1].upper()


def _reads_normal(path: Path | None) -> bool:
    """Returns whether a reading contains a line starting with 'normal'; without a reading, the name is sufficient."""
    if path is None:
        return True
    lines = [line.strip().lower() for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    return any(line.startswith("normal") for line in lines)
