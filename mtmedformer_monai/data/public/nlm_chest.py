"""What the National Library of Medicine's two tuberculosis sets share: file names, readings and labels."""

from __future__ import annotations

import re
from pathlib import Path

from mtmedformer_monai.data.datalist import Item

from .set_files import place_of

_NAME = re.compile(r"(?:MCUCXR|CHNCXR)_\d{4}_([01])")


def make_item(image: Path, folder: Path, masks: dict[str, str]) -> Item:
    """Item of one image: each is another patient's.

    Args:
        image: named as `MCUCXR_0001_0.png`, whose last digit is 1 for tuberculosis.
        folder: of the set, with `ClinicalReadings/<name>.txt` beside the images' folder.
        masks: {structure: path}, empty where none is drawn.

    Returns:
        Item with the label `tuberculosis`, and `finding` where name and reading both say normal: tuberculosis is no
        pneumonia of that task, so other images have no `finding`.

    Raises:
        ValueError: the name is none of the set's.
    """
    match = _NAME.fullmatch(image.stem)
    if match is None:
        raise ValueError(f"{image} expects a name as MCUCXR_0001_0 or CHNCXR_0001_0; take files of other sets out.")
    ill = match[1] == "1"
    labels = {"tuberculosis": "present" if ill else "absent"}
    if not ill and _reads_normal(image.parent.parent / "ClinicalReadings" / f"{image.stem}.txt"):
        labels["finding"] = "normal"
    item: Item = {"image": place_of(image, folder), "labels": labels, "patient_id": image.stem}
    return item | ({"masks": masks} if masks else {})


def _reads_normal(path: Path) -> bool:
    """Whether a reading ends in 'normal', behind sex and age; without one, the name alone says so."""
    if not path.is_file():
        return True
    lines = [line.strip().lower() for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    return any(line.startswith("normal") for line in lines)
