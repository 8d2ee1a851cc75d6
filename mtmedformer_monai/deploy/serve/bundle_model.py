"""Inference with a bundle, as the worker calls it: the runner of `mtmedformer infer`, loaded once."""

from __future__ import annotations

import builtins
import json
import os
from collections.abc import Sequence
from pathlib import Path

from mtmedformer_monai.deploy.headers.uids import model_sha256
from mtmedformer_monai.deploy.inputs import InputFile, StudyInput
from mtmedformer_monai.deploy.study_runner import OutputError, RunnerOptions, StudyOutcome, StudyRunner, name_rule
from mtmedformer_monai.io.atomic_files import write_atomically
from mtmedformer_monai.transforms.dicom.header import read_uids
from mtmedformer_monai.transforms.dicom.parse import read_header
from mtmedformer_monai.transforms.errors import RadiographError

from .config import DeidentifyConfig, ServeConfig
from .deidentifier import make_deidentifier
from .errors import ImageRefusedError, WrongResultError
from .inference import Deidentify
from .rules import load_rules
from .service import Model
from .spool import RESULTS, make_folder, original_of

RULES = "rules.json"
"""File in the worker's folder with the rules that its configuration changes, as a configuration of the bundle."""
_NOT_OF_THE_IMAGE = {"unexpected", "MemoryError"} | {
    name for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, OSError)
}
"""Refusals of the runner that another attempt may not meet; a file that is missing may be the bundle's."""


def load_model(config: ServeConfig, trust: bool = False) -> Model:
    """Loads the bundle and its weights.

    Args:
        config: the worker's configuration.
        trust: whether the bundle may run code from elsewhere.

    Raises:
        FileNotFoundError: the bundle or its weights do not exist.
        ValueError: the weights do not fit the bundle, its configuration would run code from elsewhere, or a rule is
            unknown.
    """
    options = RunnerOptions(config.bundle, config.folder / "spool", trust=trust, configs=write_rules(config))
    runner = StudyRunner(options)

    def infer(folder: Path) -> Sequence[Path]:
        return run_case(runner, folder)

    return Model(infer, model_sha256(runner.provenance), make_deidentify(config.deidentify))


def write_rules(config: ServeConfig) -> tuple[Path, ...]:
    """Writes the rules that the worker's configuration changes, for the bundle's reader, which applies them again.

    Returns:
        The further configuration of the bundle; none if no rule is changed.

    Raises:
        FileNotFoundError: the bundle has no `configs/inference.json`.
        ValueError: a rule is unknown or has a wrong value.
    """
    load_rules(config.bundle, config.rules)
    changed: dict[str, object] = {f"admission#{name}": rule for name, rule in config.rules.admission.items()}
    if config.rules.modalities:
        changed["modalities"] = list(config.rules.modalities)
    path = config.folder / RULES
    if not changed:
        path.unlink(missing_ok=True)
        return ()
    make_folder(config.folder)
    write_atomically(path, lambda file: file.write(json.dumps(changed, indent=2).encode()))
    return (path,)


def make_deidentify(config: DeidentifyConfig) -> Deidentify | None:
    """Returns the function that de-identifies the image of a case, or None.

    The image as it came is kept beside (`spool.original_of`), so that a step that was interrupted gives the same
    pseudonyms when it is repeated.

    Raises:
        FileNotFoundError: the key does not exist.
        ValueError: the key is too short.
    """
    deidentifier = make_deidentifier(config)
    if deidentifier is None:
        return None

    def deidentify(path: Path) -> None:
        original = original_of(path)
        if not original.exists():
            os.link(path, original)
        try:
            deidentifier.write_copy(original, path)
        except RadiographError as error:
            raise ImageRefusedError(name_rule(error), error.advice) from error

    return deidentify


def run_case(runner: StudyRunner, folder: Path) -> list[Path]:
    """Infers on the image in `folder/source`; see `inference.Infer`.

    Args:
        runner: its output folder is the parent of `folder`.
        folder: folder of the case.

    Raises:
        ImageRefusedError: a rule, or the reader of images, refuses the image.
        WrongResultError: an output could not be written, or something unexpected happened.
        OSError: the disk is full.
    """
    try:
        outcome = runner.process(_study_of(folder))
    except OutputError as error:
        raise error.__cause__ if isinstance(error.__cause__, OSError) else error from None
    if outcome.refused:
        refusal = outcome.refused[0]
        if outcome.result is None and refusal.rule not in _NOT_OF_THE_IMAGE:
            raise ImageRefusedError(refusal.rule, refusal.reason)
        raise WrongResultError(f"{refusal.rule}: {refusal.reason}")
    return _objects(outcome, folder / RESULTS)


def _study_of(folder: Path) -> StudyInput:
    """Describes the case's image as a study of its own, whose output folder is the case's folder for results."""
    (path,) = (folder / "source").iterdir()
    sop, _, study = read_uids(read_header(path, with_pixels=False))
    return StudyInput(study, f"{folder.name}/{RESULTS}", (InputFile(path, path.name, sop, study),))


def _objects(outcome: StudyOutcome, folder: Path) -> list[Path]:
    """Returns the DICOM objects among the files of an outcome."""
    if outcome.result is None:
        return []
    names = [*outcome.result.files.values(), *(n for image in outcome.result.images for n in image.files.values())]
    return [folder / name for name in names if name.endswith(".dcm")]
