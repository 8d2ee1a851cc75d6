"""What can be wrong with an item of a datalist."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["unreadable", "annotation", "unused", "cohort"]

UNREADABLE: Kind = "unreadable"
"""A file that is missing, damaged or refused. A training skips the image, or stops (`on_unreadable`)."""

ANNOTATION: Kind = "annotation"
"""A label that contradicts the tasks or the image. A training stops, or skips the image (`on_wrong_label`)."""

UNUSED: Kind = "unused"
"""An annotation under a name that no task reads. A training stops, or ignores the annotation (`on_unused_label`)."""

COHORT: Kind = "cohort"
"""A contradiction between items, such as a patient in two sections. Only `datalist check` looks for it."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with one item.

    Attributes:
        kind: decides what a training does about it.
        text: what is wrong, and the remedy; no attribute of the patient.
    """

    kind: Kind
    text: str
