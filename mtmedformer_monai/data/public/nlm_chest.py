"""What the National Library of Medicine's two tuberculosis sets share: file names, readings and labels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from mtmedformer_monai.data.datalist import Item

from .set_files import PICTURES, SetFolder, place_of

PREFIXES = ("MCUCXR", "CHNCXR")
_NAME = re.compile(rf"({'|'.join(PREFIXES)})_\d{{4}}_([01])", re.IGNORECASE)
NO_IMAGES = r"(^|/)[^/]*(mask|annotation)[^/]*/|_mask$"
"""Where masks and outlines of findings are, some under the names of their images."""


def find_radiographs(files: SetFolder, prefix: str) -> list[Path]:
    """The images of one of the two sets, which some copies hold side by side.

    Args:
        files: of the set.
        prefix: of its names, one of `PREFIXES`.

    Raises:
        FileNotFoundError: there is none.
        ValueError: beside them lies a file of another set.
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
    """{name of an image: its reading} of the folder `ClinicalReadings`."""
    return files.by_stem(r"(^|/)[^/]*readings?[^/]*/[^/]+$", (".txt",))


def make_item(image: Path, folder: Path, masks: dict[str, str], readings: Mapping[str, Path]) -> Item:
    """Item of one image: each is another patient's.

    Args:
        image: named as `MCUCXR_0001_0.png`, whose last digit is 1 for tuberculosis.
        folder: of the set.
        masks: {structure: path}, empty where none is drawn.
        readings: {name: path} of text files.

    Returns:
        Item with the label `tuberculosis`, and `finding` where name and reading both say normal: tuberculosis is no
        pneumonia of that task, so other images have no `finding`.
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
        raise ValueError(f"{image} expects a name as MCUCXR_0001_0 or CHNCXR_0001_0; take files of other sets out.")
    return match[1].upper()


def _reads_normal(path: Path | None) -> bool:
    """Whether a reading ends in 'normal', behind sex and age; without one, the name alone says so."""
    if path is None:
        return True
    lines = [line.strip().lower() for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    return any(line.startswith("normal") for line in lines)
