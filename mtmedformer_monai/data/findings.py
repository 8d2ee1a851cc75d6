"""Kinds of problems of datalist items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["unreadable", "annotation", "unused", "cohort"]

UNREADABLE: Kind = "unreadable"
"""A file is missing, damaged or rejected. Training skips the image or stops (`on_unreadable`)."""

ANNOTATION: Kind = "annotation"
"""A label contradicts the tasks or the image. Training stops or skips the image (`on_wrong_label`)."""

UNUSED: Kind = "unused"
"""No task uses an annotation's name. Training stops or ignores the annotation (`on_unused_label`)."""

COHORT: Kind = "cohort"
"""Items contradict each other, such as a patient in two sections. Only `datalist check` reports this kind."""


@dataclass(frozen=True)
class Finding:
    """A problem of one item.

    Attributes:
        kind: kind of the problem, which determines how training handles it.
        text: description of the problem and its remedy, without patient attributes.
    """

    kind: Kind
    text: str
