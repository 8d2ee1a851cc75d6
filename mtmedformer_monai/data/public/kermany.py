"""Converter of the pediatric chest X-rays of Kermany et al.: normal or pneumonia, bacterial or viral.

Source: Kermany, Zhang, Goldbaum, "Large Dataset of Labeled Optical Coherence Tomography (OCT) and Chest X-Ray
Images", Mendeley Data, https://data.mendeley.com/datasets/rscbjbr9sj; described in Kermany et al., "Identifying
Medical Diagnoses and Treatable Diseases by Image-Based Deep Learning", Cell 172 (2018), 1122-1131,
https://doi.org/10.1016/j.cell.2018.02.010. Children of one to five years, one hospital.

Licence: CC BY 4.0; name the authors.

The official test folder stays the test section. Some copies have a `val` folder of 16 images: too few to choose a
model by, so they join the training folder, and 15 % of its patients become the validation section. Patients are told
by the file names, whose numbering starts anew in each folder.
"""

from __future__ import annotations

import re
from pathlib import Path

from mtmedformer_monai.data.datalist import Datalist, Item
from mtmedformer_monai.data.split import hold_out_validation

from .label_table import FILE_NAME, SECTION_OF_SPLIT, has_label_table, read_label_table

TYPES = {"bacteria": "bacterial", "virus": "viral"}
CLASSES = {"NORMAL": "normal", "PNEUMONIA": "pneumonia"}
SUFFIXES = (".jpeg", ".jpg", ".png")

_PERSON = re.compile(r"(person\d+)_(bacteria|virus)_\d+")
_NORMAL = re.compile(r"((?:NORMAL2-)?IM-\d+)-\d+(?:-\d+)?")


def convert(folder: Path) -> Datalist:
    """Makes the datalist of the published layout, or of a flat one.

    Args:
        folder: holds `{train,test}/{NORMAL,PNEUMONIA}/*.jpeg` (or that in its `chest_xray`); or `labels.csv` with the
            columns image, label, subtype, group_id, split.

    Returns:
        Datalist with paths relative to `folder`; labels `finding` and, on pneumonia, `pneumonia_type`.

    Raises:
        ValueError: another layout, or a file name that says no patient.
    """
    sections = _read_flat(folder) if has_label_table(folder) else _read_published(folder)
    if not sections.get("validation"):
        sections |= hold_out_validation(sections["training"], stratify_on="pneumonia_type")
    return {"name": "kermany", "licence": "CC BY 4.0", **sections}


def parse_name(stem: str) -> tuple[str, str | None]:
    """Patient and pneumonia type of a file name without its ending.

    Example:
        >>> parse_name("person1371_virus_2362")
        ('person1371', 'viral')
        >>> parse_name("NORMAL2-IM-0341-0001")
        ('NORMAL2-IM-0341', None)

    Raises:
        ValueError: the name is none of the set's.
    """
    if match := _PERSON.fullmatch(stem):
        return match[1], TYPES[match[2]]
    if match := _NORMAL.fullmatch(stem):
        return match[1], None
    raise ValueError(
        f"{stem!r} expects a name as person1_virus_6 or IM-0115-0001; take files that aren't of the set out."
    )


def _read_published(folder: Path) -> dict[str, list[Item]]:
    root = next((root for root in (folder, folder / "chest_xray") if (root / "train").is_dir()), None)
    if root is None or not (root / "test").is_dir():
        raise ValueError(
            f"{folder} expects train/ and test/ with {list(CLASSES)} inside, or a labels.csv; unpack it there."
        )
    parts = {part: _read_part(folder, root / part, part) for part in ("train", "val", "test")}
    return {"training": parts["train"] + parts["val"], "test": parts["test"]}


def _read_part(folder: Path, part_folder: Path, part: str) -> list[Item]:
    """Items of train, val or test; val was cut from train, and shares its numbering."""
    numbering = "test" if part == "test" else "train"
    files = [
        (file, label)
        for name, label in CLASSES.items()
        for file in sorted((part_folder / name).glob("*"))
        if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
    ]
    named = [(file.relative_to(folder).as_posix(), label, *parse_name(file.stem)) for file, label in files]
    return [_make_item(image, label, f"{numbering}-{patient}", kind) for image, label, patient, kind in named]


def _make_item(image: str, label: str, patient: str, pneumonia_type: str | None) -> Item:
    labels = {"finding": label}
    if pneumonia_type is not None and label == "pneumonia":
        labels["pneumonia_type"] = pneumonia_type
    return {"image": image, "labels": labels, "patient_id": patient}


def _read_flat(folder: Path) -> dict[str, list[Item]]:
    sections: dict[str, list[Item]] = {section: [] for section in SECTION_OF_SPLIT.values()}
    for row in read_label_table(folder, ["label", "subtype", "group_id"]):
        if row["label"] not in CLASSES or row["subtype"] not in {"", *TYPES}:
            raise ValueError(
                f"{folder / FILE_NAME} expects a label of {list(CLASSES)} and a subtype of {list(TYPES)} or none, "
                f"got {row['label']!r} and {row['subtype']!r}; mend the row."
            )
        item = _make_item(row["image"], CLASSES[row["label"]], row["group_id"], TYPES.get(row["subtype"]))
        sections[SECTION_OF_SPLIT[row["split"]]].append(item)
    return sections
