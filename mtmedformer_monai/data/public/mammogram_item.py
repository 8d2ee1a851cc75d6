"""Creates the datalist items of mammograms for the converters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from mtmedformer_monai.data.datalist import Item
from mtmedformer_monai.keys import IMAGE, LABELS, LATERALITY, PATIENT_ID, STUDY_ID, VIEW

DENSITY_LETTERS = {"1": "A", "2": "B", "3": "C", "4": "D"}
"""BI-RADS breast composition, numbered up to the fourth edition and lettered since the fifth. The definitions changed:
1
to 4 were quartiles of the dense area, whereas A to D also consider whether lesions may be obscured."""


@dataclass(frozen=True)
class ImageFacts:
    """Identification of one mammogram.

    Attributes:
        patient_id: ID of the patient.
        study_id: ID of the examination.
        laterality: 'L', 'R', 'LEFT' or 'RIGHT'.
        view: 'CC', 'MLO', ...
    """

    patient_id: str
    study_id: str
    laterality: str
    view: str


def make_mammogram(
    image: str, facts: ImageFacts, labels: Mapping[str, str | None], annotations: Mapping[str, object]
) -> Item:
    """Creates the item of one mammogram.

    Args:
        image: path of the image.
        facts: patient, study, laterality and view.
        labels: {task: class}; None values are omitted.
        annotations: `masks` and `boxes`; empty if lesions are not annotated.
    """
    item: Item = {IMAGE: image, PATIENT_ID: facts.patient_id, STUDY_ID: facts.study_id}
    item |= {LATERALITY: facts.laterality[:1].upper(), VIEW: facts.view.upper()}
    item = {key: value for key, value in item.items() if value}
    known = {task: label for task, label in labels.items() if label is not None}
    return item | ({LABELS: known} if known else {}) | dict(annotations)


def read_density(text: str) -> str | None:
    """Parses the BI-RADS breast density from a table cell; None if there is none.

    Example:
        >>> read_density("DENSITY C"), read_density("2"), read_density("2.0"), read_density("0"), read_density(" ")
        ('C', 'B', 'B', None, None)
    """
    match = re.fullmatch(r"(?:\D*[^A-Z0-9])?([A-D]|[1-4])(?:\.0*)?", text.strip().upper())
    return DENSITY_LETTERS.get(match[1], match[1]) if match else None


def read_birads(text: str) -> str | None:
    """Parses the BI-RADS assessment category, without its letter, from a table cell; None if there is none.

    Example:
        >>> read_birads("BI-RADS 5"), read_birads("4a"), read_birads("")
        ('5', '4', None)
    """
    match = re.fullmatch(r"(?:\D*[^\d.])?([0-6])(?:[A-C]|\.0*)?", text.strip().upper())
    return match[1] if match else None
