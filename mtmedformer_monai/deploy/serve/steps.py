"""The three steps of a case: fetch, infer, store. Each ends with one transaction that sets the next state.

A step may be interrupted anywhere, and is then repeated from its start. Its effects are such that a repetition changes
nothing: files are written anew, and an object is stored only if the archive does not have it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .archive import DicomWebArchive
from .case import Case, State
from .config import LimitsConfig
from .errors import ArchiveRefusedError, ImageRefusedError, NotInArchiveError
from .inference import Deidentify, Infer, check_results
from .rules import ServeRules
from .sender import Sender
from .spool import Spool, sync
from .state import StateStore


def _nothing(_: str) -> None:
    """The default of `Parts.reached`."""


@dataclass(frozen=True)
class Parts:
    """What the steps work with.

    Attributes:
        state: the cases.
        spool: their files.
        rules: which images are processed.
        infer: inference.
        archive: where images are fetched; None if they are only received.
        sender: where results go.
        limits: bounds.
        deidentify: changes the image before inference; None leaves it.
        reached: called with the name of each point of a step, to interrupt it there in a test.
    """

    state: StateStore
    spool: Spool
    rules: ServeRules
    infer: Infer
    archive: DicomWebArchive | None
    sender: Sender
    limits: LimitsConfig
    deidentify: Deidentify | None = None
    reached: Callable[[str], None] = _nothing


def fetch(case: Case, parts: Parts) -> None:
    """Retrieves the image, and applies the rules to its header: seen -> fetched."""
    if parts.archive is None:
        raise NotInArchiveError
    path = parts.spool.new_file()
    try:
        parts.archive.fetch(case.source, path, parts.limits.max_object_mb * 2**20)
        refusal = parts.rules.refuse(path)
        if refusal is not None:
            raise ImageRefusedError(refusal.rule, refusal.reason)
        _check_uid(case, parts, path)
        parts.spool.keep(path, case)
    finally:
        path.unlink(missing_ok=True)
    parts.reached("fetch: file")
    if not parts.state.advance(case, "fetched"):  # it was received in the meantime
        parts.spool.clear(case)
    parts.reached("fetched")


def infer(case: Case, parts: Parts) -> None:
    """Infers on the image, and checks the results: fetched -> inferred."""
    source = parts.spool.source(case)
    if not source.is_file():  # the spool was emptied by hand
        _start_again(case, parts)
        return
    folder = parts.spool.new_results(case)
    parts.reached("infer: begin")
    if parts.deidentify is not None:
        parts.deidentify(source)
    results = check_results(case, source, parts.infer(parts.spool.folder(case)))
    for path in [*(item.file for item in results), folder]:
        sync(path)
    parts.reached("infer: results")
    parts.state.advance(case, "inferred", results)
    parts.reached("inferred")


def store(case: Case, parts: Parts) -> None:
    """Stores those results that are not stored yet: inferred -> stored.

    Raises:
        ArchiveRefusedError: some are refused; the others are stored.
        ArchiveUnavailableError: the archive does not answer.
    """
    results, refused = parts.state.results_of(case), []
    for item in results:
        if item.stored:
            continue
        try:
            if not parts.sender.has(item):
                if not item.file.is_file():
                    _start_again(case, parts)
                    return
                parts.sender.store(item)
        except ArchiveRefusedError as error:
            refused.append(f"{item.file.name}: {error}")
            continue
        parts.reached("store: sent")
        parts.state.confirm(item.uid)
        parts.reached("store: confirmed")
    if refused:
        raise ArchiveRefusedError("; ".join(refused))
    parts.state.advance(case, "stored", uids=[item.uid for item in results])
    parts.reached("stored")
    parts.spool.clear(case)


def _check_uid(case: Case, parts: Parts, path: Path) -> None:
    from mtmedformer_monai.transforms.dicom.header import read_uids
    from mtmedformer_monai.transforms.dicom.parse import read_header

    if read_uids(read_header(path, with_pixels=False))[0] != case.source.uid:
        raise ArchiveRefusedError("the archive sends another image than the one that was asked for")


def _start_again(case: Case, parts: Parts) -> None:
    """Returns to the state from which the missing files can be produced again."""
    has_source = parts.spool.source(case).is_file()
    if not has_source and case.origin == "received":
        parts.state.advance(case, "failed", rule="spool", reason="its files are no longer in the spool; send it again")
        return
    again: State = "fetched" if has_source else "seen"
    parts.state.advance(case, again, reason="its files were no longer in the spool")
