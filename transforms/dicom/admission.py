"""Which images a network is given: rules by kind of image, each with what happens to it.

A set of rules is a frozen dataclass whose fields are kinds of images (`MammogramRules`, `ChestRules`). Its `find_kinds`
tells which of them a header shows, its `descriptions` put them into words; what follows is the same for every set.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar, Literal

from mtmedformer_monai.transforms.errors import RefusedImageError

Rule = Literal["pass", "flag", "refuse"]
"""'pass' reads the image, 'flag' reads it and says so in its metadata and in every result, 'refuse' raises."""

FLAG_SEPARATOR = "; "
"""Between the flags of one image: one text, which collates into batches whatever their number."""


class AdmissionRules(ABC):
    """A rule for each kind of unusual image. Subclasses are frozen dataclasses of `Rule` fields."""

    descriptions: ClassVar[Mapping[str, str]]
    """{field: what such an image is}, each to be read after 'it is'."""

    @abstractmethod
    def find_kinds(self, header: Any) -> tuple[str, ...]:
        """The fields that apply to an image.

        Args:
            header: pydicom Dataset, or None for a file that has no DICOM header.
        """

    def how_to_admit(self, kind: str) -> str:
        """The end of a refusal's remedy: what lets images of a kind pass."""
        return f"{type(self).__name__}({kind}='pass') (a bundle's --admission#{kind} pass)"

    def __post_init__(self) -> None:
        """Checks every rule.

        Raises:
            ValueError: a rule is neither 'pass', 'flag' nor 'refuse'.
        """
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if value not in ("pass", "flag", "refuse"):
                raise ValueError(
                    f"rule {field.name!r} expects 'pass' or 'refuse', got {value!r}; 'flag' passes the image and says "
                    "so in its result."
                )


def admit(path: str | Path, header: Any, rules: AdmissionRules) -> str:
    """Refuses an image that a rule does not admit.

    Args:
        path: for the message.
        header: pydicom Dataset, or None for a file that has no DICOM header.
        rules: what happens to which kind of image.

    Returns:
        What is flagged, joined by `FLAG_SEPARATOR`; '' where nothing is.

    Raises:
        RefusedImageError: names the rule and how to relax it.
    """
    if header is not None and int(header.get("NumberOfFrames") or 1) > 1:  # refused by decoding, with a better remedy
        return ""
    flags = []
    for kind in rules.find_kinds(header):
        rule = getattr(rules, kind)
        if rule == "refuse":
            raise RefusedImageError(
                path,
                f"it is {rules.descriptions[kind]}, and the rule is {kind}='refuse'",
                f"exclude it, or admit it by {rules.how_to_admit(kind)}",
            )
        if rule == "flag":
            flags.append(rules.descriptions[kind])
    return FLAG_SEPARATOR.join(flags)
