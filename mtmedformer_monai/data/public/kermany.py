"""Converter of the pediatric chest X-rays of Kermany et al.: normal or pneumonia, bacterial or viral.

Source: Kermany, Zhang, Goldbaum, "Large Dataset of Labeled Optical Coherence Tomography (OCT) and Chest X-Ray
Images", Mendeley Data, https://data.mendeley.com/datasets/rscbjbr9sj; described in Kermany et al., "Identifying
Medical Diagnoses and Treatable Diseases by Image-Based Deep Learning", Cell 172 (2018), 1122-1131,
https://doi.org/10.1016/j.cell.2018.02.010. Children aged one to five years, one hospital.

License: CC BY 4.0; attribute the authors.

Supported releases: Mendeley's version 2 (`chest_xray/{train,test}`, `person1_virus_6.jpeg`), its later version
(`ZhangLabData/CellData/chest_xray/{train,test}`, `VIRUS-1234567-0001.jpeg`), and Kaggle's copy of the former (with
`val`).

The official test folder is the test section. Some copies have a `val` folder with 16 images, which are too few for
model
selection; they are added to the training images, of which 15%, split by patient, become the validation section.
Patients are identified by the file names. The earlier release restarts their numbering in each folder; the later one
does not, and training images of patients in the test folder are excluded.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

from mtmedformer_monai.data.datalist import Datalist, Item
from mtmedformer_monai.data.split import hold_out_validation, if_labeled

from .label_table import FILE_NAME, SECTION_OF_SPLIT, has_label_table, read_choice, read_label_table
from .set_files import PICTURES, SetFolder, place_of

logger = logging.getLogger(__name__)

TYPES = {"bacteria": "bacterial", "virus": "viral"}
CLASSES = {"NORMAL": "normal", "PNEUMONIA": "pneumonia"}
RELEASE = "chest_xray/{train,test}/{NORMAL,PNEUMONIA}/*.jpeg of Mendeley's or Kaggle's archive"

_PERSON = re.compile(r"(person\d+)_(bacteria|virus)_\d+", re.IGNORECASE)
_NORMAL = re.compile(r"((?:NORMAL2-)?IM-\d+)-\d+(?:-\d+)?", re.IGNORECASE)
_NUMBERED = re.compile(r"(NORMAL|BACTERIA|VIRUS)-(\d+)-\d+", re.IGNORECASE)


def convert(folder: Path) -> Datalist:
    """Creates the datalist from the published layout, or from a flat one.

    Args:
        folder: folder with `{train,test}/{NORMAL,PNEUMONIA}/*.jpeg`, at any depth; or with `labels.csv` with the
            columns
            image, label, subtype, group_id, split.

    Returns:
        Datalist with paths relative to `folder`, with the labels `finding` and, for pneumonia, `pneumonia_type`.

    Raises:
        ValueError: the layout is unknown, or a file name does not identify a patient or contradicts its folder.
    """
    sections = _read_flat(folder) if has_label_table(folder) else _read_published(folder)
    if not sections.get("validation"):
        training = sections["training"]
        sections |= hold_out_validation(training, if_labeled(training, "pneumonia_type"))
    return {"name": "kermany", "licence": "CC BY 4.0", **sections}


def parse_name(stem: str) -> tuple[str, str | None]:
    """Parses patient and pneumonia type from a file name without extension.

    Example:
        >>> parse_name("person1371_virus_2362")
        ('person1371', 'viral')
        >>> parse_name("NORMAL2-IM-0341-0001")
        ('NORMAL2-IM-0341', None)
        >>> parse_name("BACTERIA-1135262-0004")
        ('1135262', 'bacterial')

    Raises:
        ValueError: the name does not follow the dataset's naming scheme.
    """
    if match := _PERSON.fullmatch(stem):
        return match[1], TYPES[match[2].lower()]
    if match := _NUMBERED.fullmatch(stem):
        return match[2], TYPES.get(match[1].lower())
    if match := _NORMAL.fullmatch(stem):
        return match[1], None
    raise ValueError(
        f"{stem!r} expects a name such as person1_virus_6, IM-0115-0001 or VIRUS-1234567-0001; remove files that do "
        "not belong to the dataset."
    )


def _read_published(folder: Path) -> dict[str, list[Item]]:
    files = SetFolder(folder, RELEASE)
    parts = {part: list(_read_part(files, root, part)) for root, part in _find_parts(files)}
    tested = {item["patient_id"] for item in parts["test"]}
    trained = parts["train"] + parts.get("val", [])
    training = [item for item in trained if item["patient_id"] not in tested]
    if len(training) < len(trained):
        logger.info("%d training images of patients in the test folder are excluded.", len(trained) - len(training))
    return {"training": training, "test": parts["test"]}


def _find_parts(files: SetFolder) -> list[tuple[str, str]]:
    """Returns (root, part) of the part folders in the uppermost root that contains train and test.

    Kaggle's archive contains two copies; the later release also has OCT images, in `{train,test}/NORMAL` as well.
    """
    roots: dict[str, set[str]] = {}
    ill: set[str] = set()
    for path in files.find(r"(^|/)(train|val|test)/(normal|pneumonia)/[^/]+$", PICTURES):
        part, root = path.parent.parent, place_of(path.parents[2], files.folder)
        roots.setdefault(root, set()).add(part.name)
        ill |= {root} if path.parent.name.upper() == "PNEUMONIA" else set()
    for root in sorted(roots, key=lambda root: (root.count("/"), root)):
        if root in ill and {"train", "test"} <= {name.lower() for name in roots[root]}:
            return [(root, name.lower()) for name in sorted(roots[root])]
    error = files.lacks(f"train/ and test/ with {list(CLASSES)} inside, or a labels.csv")
    raise ValueError(str(error))


def _read_part(files: SetFolder, root: str, part: str) -> Iterator[Item]:
    """Yields the items of train, val or test; val was split from train and shares its patient numbers."""
    prefix = "" if root == "." else f"{re.escape(root)}/"
    for file in files.find(rf"^{prefix}{part}/[^/]+/[^/]+$", PICTURES):
        patient, kind = parse_name(file.stem)
        label = _label_of(file, kind)
        if not patient.isdigit():
            patient = f"{'test' if part == 'test' else 'train'}-{patient}"
        yield _make_item(place_of(file, files.folder), label, patient, kind)


def _label_of(file: Path, kind: str | None) -> str:
    """Returns the class of a file's folder, after checking that the file name agrees with it."""
    name = file.parent.name.upper()
    if name not in CLASSES or (name == "PNEUMONIA") != (kind is not None):
        raise ValueError(
            f"{file} expects a folder of {list(CLASSES)} that agrees with the name; unpack the dataset again."
        )
    return CLASSES[name]


def _make_item(image: str, label: str | None, patient: str, pneumonia_type: str | None) -> Item:
    labels = {"finding": label} if label else {}
    if pneumonia_type is not None and label == "pneumonia":
        labels["pneumonia_type"] = pneumonia_type
    return {"image": image, "labels": labels, "patient_id": patient}


def _read_flat(folder: Path) -> dict[str, list[Item]]:
    sections: dict[str, list[Item]] = {section: [] for section in SECTION_OF_SPLIT.values()}
    path = folder / FILE_NAME
    for row in read_label_table(folder, ["label", "subtype", "group_id"]):
        label = CLASSES[read_choice(row["label"], CLASSES, "a label of", path)] if row["label"] else None
        subtype = TYPES[read_choice(row["subtype"], TYPES, "a subtype of", path)] if row["subtype"] else None
        sections[SECTION_OF_SPLIT[row["split"]]].append(_make_item(row["image"], label, row["group_id"], subtype))
    return sections
