"""A case: one source image for one version of the model, and the states that it passes through."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

State: TypeAlias = Literal["seen", "fetched", "inferred", "stored", "refused", "failed"]
"""seen -> fetched -> inferred -> stored; 'refused' by a rule, 'failed' after too many attempts."""

STATES: Sequence[State] = ("seen", "fetched", "inferred", "stored", "refused", "failed")

Origin: TypeAlias = Literal["archive", "received"]
"""Whether the image is fetched from the archive, or was received by C-STORE."""


@dataclass(frozen=True)
class Source:
    """The UIDs of a source image.

    Attributes:
        uid: SOP Instance UID.
        series_uid: Series Instance UID.
        study_uid: Study Instance UID.
    """

    uid: str
    series_uid: str
    study_uid: str


@dataclass(frozen=True)
class Case:
    """One case.

    Attributes:
        source: UIDs of the image.
        model: SHA-256 hash of the model.
        origin: where the image comes from.
        state: how far it has come.
        folder: name of its folder in the spool.
        attempts: begun attempts of the next step; attempts that the archive or the disk prevented do not count.
    """

    source: Source
    model: str
    origin: Origin
    state: State
    folder: str
    attempts: int = 0


def new_case(source: Source, model: str, origin: Origin) -> Case:
    """Returns the first state of a case: an image in the archive is 'seen', one that was received is 'fetched'.

    The folder's name is a hash, because UIDs come from outside, and a hostile one could name any path.
    """
    folder = hashlib.sha256(f"{source.uid}|{model}".encode()).hexdigest()[:32]
    return Case(source, model, origin, "seen" if origin == "archive" else "fetched", folder)


@dataclass(frozen=True)
class Refusal:
    """Why a case is not processed.

    Attributes:
        rule: name of the rule.
        reason: a sentence without any attribute of the patient.
    """

    rule: str
    reason: str


@dataclass(frozen=True)
class ResultObject:
    """One DICOM object that a case resulted in.

    Attributes:
        uid: SOP Instance UID.
        study_uid: Study Instance UID.
        sop_class: SOP Class UID.
        file: the file in the spool.
        stored: whether the archive has confirmed it.
    """

    uid: str
    study_uid: str
    sop_class: str
    file: Path
    stored: bool = False
