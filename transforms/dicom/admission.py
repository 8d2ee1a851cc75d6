"""Admission rules: which kinds of images are passed to a network, flagged, or refused.

A set of rules is a frozen dataclass with one field per kind of image (`MammogramRules`, `ChestRules`). Its `find_kinds`
determines the kinds of an image from its header, and its `descriptions` describe them. `admit` applies the rules.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar, Literal

from mtmedformer_monai.transforms.errors import RefusedImageError

Rule = Literal["pass", "flag", "refuse"]
"""'pass' reads the image, 'flag' reads it and adds a flag to its metadata and results, 'refuse' raises an error."""

FLAG_SEPARATOR = "; "
"""Separator of the flags of one image; they are joined to one string, which can be collated into batches."""


class AdmissionRules(ABC):
    """Rules for the kinds of unusual images; subclasses are frozen dataclasses with `Rule` fields."""

    descriptions: ClassVar[Mapping[str, str]]
    """{field: description of such an image}, each a phrase that completes 'it is'."""

    @abstractmethod
    def find_kinds(self, header: Any) -> tuple[str, ...]:
        """Returns the names of the fields that apply to an image.

        Args:
            header: pydicom Dataset, or None for a file without a DICOM header.
        """

    def how_to_admit(self, kind: str) -> str:
        """Returns the end of the remedy in a refusal: the setting that admits images of a kind."""
        setting = f'{{"admission#{kind}": "pass"}}'
        rule = f"{type(self).__name__}({kind}='pass')"
        return f"{rule} (a bundle's --admission#{kind} pass; for infer, a --config FILE with {setting})"

    def __post_init__(self) -> None:
        """Checks the rules.

        Raises:
            ValueError: a rule is not 'pass', 'flag' or 'refuse'.
        """
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if value not in ("pass", "flag", "refuse"):
                raise ValueError(
                    f"rule {field.name!r} expects 'pass', 'flag' or 'refuse', got {value!r}; 'flag' passes the image "
                    "and flags it in its result."
                )


def admit(path: str | Path, header: Any, rules: AdmissionRules) -> str:
    """Applies admission rules to an image.

    Args:
        path: the file, for the message.
        header: pydicom Dataset, or None for a file without a DICOM header.
        rules: the rules to apply.

    Returns:
        The flags, joined by `FLAG_SEPARATOR`, or '' if there are none.

    Raises:
        RefusedImageError: a rule refuses the image; the message names the rule and how to relax it.
    """
    if (
        header is not None and int(header.get("NumberOfFrames") or 1) > 1
    ):  # the decoder refuses it with a more helpful message
        return ""
    flags = []
    for kind in rules.find_kinds(header):
        rule = getattr(rules, kind)
        if rule == "refuse":
            raise RefusedImageError(
                path,
                f"it is {rules.descriptions[kind]}, and the rule is {kind}='refuse'",
                f"exclude it, or admit it by {rules.how_to_admit(kind)}",
                kind,
            )
        if rule == "flag":
            flags.append(rules.descriptions[kind])
    return FLAG_SEPARATOR.join(flags)
