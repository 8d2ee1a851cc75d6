"""Which images the worker processes; everything else is refused with the name of a rule and a reason.

The rules, in this order:

- `sop_class`: SOP Class UID is one of `rules.sop_classes`.
- `modality`: Modality is one of `rules.modalities`, by default those of the bundle.
- `frames`: the image has one frame.
- `intent`: Presentation Intent Type, if there is one, is one of `rules.intents`. Devices often send both the image FOR
  PROCESSING and the image FOR PRESENTATION of one exposure; by default only the latter is processed.
- `size`: rows and columns are plausible.
- the bundle's admission rules by their own names (`other_anatomy`, `lateral`, `implants`, `spot_views`, ...): body
  part, view, implants and other kinds of images; see `transforms.ChestRules` and `transforms.MammogramRules`.
- `unreadable`: the header can be read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtmedformer_monai.transforms.dicom.admission import AdmissionRules
from mtmedformer_monai.transforms.dicom.chest_rules import ChestRules
from mtmedformer_monai.transforms.dicom.code_strings import read_code
from mtmedformer_monai.transforms.dicom.header import is_for_processing, read_modality
from mtmedformer_monai.transforms.dicom.mammogram_rules import MammogramRules
from mtmedformer_monai.transforms.dicom.modalities import describe_modality
from mtmedformer_monai.transforms.limits import MAX_PIXELS, MAX_SIDE

from .archive import Found
from .case import Refusal
from .config import RulesConfig

_INTENTS = ("FOR PRESENTATION", "FOR PROCESSING")
"""Enumerated values of Presentation Intent Type (DICOM PS3.3 C.8.11.1)."""

_ADMISSION: Mapping[str, type[AdmissionRules]] = {kind.__name__: kind for kind in (ChestRules, MammogramRules)}


@dataclass(frozen=True)
class ServeRules:
    """The rules of one worker.

    Attributes:
        sop_classes: SOP Class UIDs that are processed.
        modalities: values of Modality that are processed.
        intents: values of Presentation Intent Type that are processed.
        admission: the bundle's admission rules.
    """

    sop_classes: Sequence[str]
    modalities: Sequence[str]
    intents: Sequence[str]
    admission: AdmissionRules

    def refuse_early(self, found: Found) -> Refusal | None:
        """Decides on an image by what a search tells about it; what the archive does not tell is checked later."""
        return (
            (found.sop_class and self._check_class(found.sop_class))
            or (found.modality and self._check_modality(found.modality))
            or _check_frames(found.frames)
            or None
        )

    def refuse(self, path: Path) -> Refusal | None:
        """Decides on a file by its header; only the allowed elements of `transforms.dicom.header` are read."""
        from mtmedformer_monai.transforms.dicom.parse import read_header
        from mtmedformer_monai.transforms.errors import RadiographError

        try:
            header = read_header(path, with_pixels=False)
        except RadiographError as error:
            return Refusal("unreadable", error.advice)
        return self.refuse_header(header)

    def refuse_header(self, header: Any) -> Refusal | None:
        """Decides on an image by its header, a pydicom Dataset.

        Returns:
            The rule that refuses the image, or None if it is processed.
        """
        return (
            self._check_class(str(header.get("SOPClassUID", "")))
            or self._check_modality(read_modality(header))
            or _check_frames(int(header.get("NumberOfFrames") or 1))
            or self._check_intent(header)
            or _check_size(header)
            or self._check_admission(header)
        )

    def _check_class(self, uid: str) -> Refusal | None:
        if uid in self.sop_classes:
            return None
        return Refusal("sop_class", f"its SOP class is {_describe_class(uid)}; rules.sop_classes lists others")

    def _check_modality(self, modality: str) -> Refusal | None:
        if modality in self.modalities:
            return None
        admitted = ", ".join(self.modalities)
        return Refusal("modality", f"its modality is {describe_modality(modality)}; {admitted} are processed")

    def _check_intent(self, header: Any) -> Refusal | None:
        intent = read_code(header, "PresentationIntentType")
        if not intent and is_for_processing(header):
            intent = "FOR PROCESSING"
        if not intent or intent in self.intents:
            return None
        shown = intent if intent in _INTENTS else "of another intent"
        return Refusal("intent", f"it is {shown}; {', '.join(self.intents)} is processed (rules.intents)")

    def _check_admission(self, header: Any) -> Refusal | None:
        for kind in self.admission.find_kinds(header):
            if getattr(self.admission, kind) == "refuse":
                return Refusal(kind, f"it is {self.admission.descriptions[kind]}")
        return None


def _check_frames(frames: int) -> Refusal | None:
    return Refusal("frames", f"it has {frames} frames; images with one frame are processed") if frames > 1 else None


def _check_size(header: Any) -> Refusal | None:
    rows, columns = int(header.get("Rows") or 0), int(header.get("Columns") or 0)
    if 0 < rows * columns <= MAX_PIXELS and max(rows, columns) <= MAX_SIDE:
        return None
    return Refusal("size", f"it has {rows} rows x {columns} columns, which no radiograph has")


def _describe_class(uid: str) -> str:
    """Returns the name of a SOP class of the standard; other values could be anything."""
    from pydicom.uid import UID

    known = UID(uid)
    return known.name if uid and known.type == "SOP Class" else "missing" if not uid else "not one of the standard"


def _shown(text: str) -> str:
    """Returns a value of a configuration for a message: cut, and without characters that such values do not have."""
    return "".join(letter for letter in text[:64] if letter.isalnum() or letter in " ._-")


def load_rules(bundle: Path, config: RulesConfig) -> ServeRules:
    """Reads a bundle's admission rules and modalities from its `configs/inference.json`, without running any code.

    Raises:
        FileNotFoundError: the bundle has no such file.
        ValueError: it names other rules than those of this package, or a rule is unknown or has a wrong value.
    """
    path = bundle / "configs" / "inference.json"
    if not path.is_file():
        raise FileNotFoundError(f"bundle expects a folder with configs/inference.json, found none at {path}.")
    content = json.loads(path.read_text(encoding="utf-8"))
    given = dict(content.get("admission") or {})
    target = str(given.pop("_target_", ""))
    kind = _ADMISSION.get(target.rpartition(".")[2])
    if kind is None:
        raise ValueError(f"admission of {path} expects one of {', '.join(_ADMISSION)}, got {_shown(target) or 'none'}.")
    rules = {**given, **config.admission}
    if unknown := sorted(set(rules) - set(kind.descriptions)):
        known = ", ".join(kind.descriptions)
        raise ValueError(f"rules.admission expects some of {known}; got {', '.join(map(_shown, unknown))}.")
    modalities = config.modalities or tuple(content.get("modalities") or ())
    return ServeRules(config.sop_classes, modalities, config.intents, kind(**rules))
