"""The `mtmedformer infer` command: from a folder of images to DICOM objects, overlays and tables."""

from __future__ import annotations

import argparse
import logging
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mtmedformer_monai.deploy.output_kinds import DEFAULT_OUTPUTS, OUTPUTS, RUNTIMES

from .bundle_folders import bundle_help, default_bundle, is_own
from .help_format import HelpFormatter
from .trusted_bundles import add_trust_option

if TYPE_CHECKING:
    from mtmedformer_monai.deploy.inputs import StudyInput
    from mtmedformer_monai.deploy.privacy.deidentify import Deidentifier
    from mtmedformer_monai.deploy.results import RunResult
    from mtmedformer_monai.deploy.study_runner import StudyOutcome

logger = logging.getLogger("mtmedformer")

REFUSED = 3
"""Exit code of a run in which a file was refused."""


def add_infer_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `infer` to the command line."""
    description = (
        "run a bundle on DICOM, PNG, JPEG or NIfTI files: DICOM SEG and SR, overlays, an HTML report, results.json and "
        "results.csv"
    )
    epilog = "Exit code: 0, 3 if a file was refused, 2 if an option is wrong or a result cannot be written."
    command = commands.add_parser(
        "infer", help=description, description=description, epilog=epilog, formatter_class=HelpFormatter
    )
    default = default_bundle()
    command.add_argument(
        "--bundle", metavar="FOLDER", type=Path, default=default, required=default is None, help=bundle_help()
    )
    command.add_argument(
        "--input", metavar="PATH", type=Path, nargs="+", required=True, help="files, and folders to search recursively"
    )
    command.add_argument("--output", metavar="FOLDER", type=Path, required=True, help="folder of the results")
    command.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:N or mps (default: a GPU if there is one)")
    command.add_argument(
        "--workers", metavar="N", type=int, default=1, help="processes that load, predict and write studies"
    )
    command.add_argument(
        "--weights",
        metavar="FILE",
        type=Path,
        help="weights of the network of images (default: the bundle's models/model.pt); that of studies keeps its own",
    )
    command.add_argument(
        "--config", metavar="FILE", type=Path, nargs="+", default=[], help="configuration that overrides inference.json"
    )
    command.add_argument(
        "--outputs",
        choices=OUTPUTS,
        nargs="+",
        help=f"files to write beside results.json and results.csv (default: {' '.join(DEFAULT_OUTPUTS)}): DICOM SEG of "
        "masks, DICOM SEG of heat maps, pictures, DICOM SR, HTML report, presentation states, Mammography CAD SR; a "
        "pipeline that reads only some of them saves the time of the others",
    )
    command.add_argument(
        "--also", choices=["gsps", "cad_sr"], nargs="+", default=[], help="additional files, on top of --outputs"
    )
    command.add_argument(
        "--runtime",
        choices=RUNTIMES,
        default="torch",
        help="what runs the network; ONNX Runtime runs on the CPU, and each process exports the network at its start, "
        "which takes some 20 seconds",
    )
    command.add_argument(
        "--uncertainty",
        action="store_true",
        help="estimate uncertainty, by the bundle's posterior (models/posterior.pt) if there is one and otherwise by "
        "test-time augmentation: values in all results, and maps as DICOM SEG; takes seven or more network runs",
    )
    command.add_argument(
        "--guard",
        choices=["flag", "refuse", "off"],
        help="images unlike the training images (default: the bundle's choice)",
    )
    command.add_argument(
        "--explain",
        action="store_true",
        help="map the evidence for each predicted class, in the report and the DICOM SEG; takes seconds per image",
    )
    add_trust_option(command)
    command.add_argument(
        "--deidentify",
        metavar="KEY_FILE",
        nargs="?",
        const="",
        help="process copies without identifiers, and replace file names and UIDs; runs with equal keys (by default a "
        "new one) give equal pseudonyms",
    )
    command.set_defaults(run=_infer)


def _infer(options: argparse.Namespace) -> int:
    from mtmedformer_monai.deploy.bundle_model import hash_bundle, uncertainty_config
    from mtmedformer_monai.deploy.run import InferOptions, infer
    from mtmedformer_monai.deploy.study_runner import RunnerOptions

    for path in options.config:
        if not path.is_file():
            raise FileNotFoundError(f"no file at {path}; --config expects files like the bundle's configs/*.json.")
    configs = (*([uncertainty_config(options.bundle)] if options.uncertainty else []), *options.config)
    runner = RunnerOptions(
        options.bundle,
        options.output,
        options.device or "",
        options.weights,
        configs,
        deidentify=_make_deidentifier(options.deidentify),
        guard=options.guard or "",
        explain=options.explain,
        outputs=tuple(dict.fromkeys((*(options.outputs or DEFAULT_OUTPUTS), *options.also))),
        trust=options.trust,
        runtime=options.runtime,
    )
    if not is_own(options.bundle):
        logger.info("bundle from elsewhere: SHA-256 %s; see mtmedformer inspect", hash_bundle(options.bundle))
    recorded = ("infer", "--device", options.device or "default", "--workers", str(options.workers))
    progress = _Progress()
    try:
        result = infer(
            InferOptions(runner, tuple(options.input), options.workers, recorded), progress.start, progress.advance
        )
    finally:
        progress.close()
    _summarize(result, options.output)
    return REFUSED if result.refused else 0


def _make_deidentifier(key_file: str | None) -> Deidentifier | None:
    """Returns the pseudonyms of a run; `key_file` is None for no de-identification, '' for a new key."""
    if key_file is None:
        return None
    from mtmedformer_monai.deploy.privacy.deidentify import Deidentifier, read_key

    return Deidentifier(read_key(Path(key_file)) if key_file else secrets.token_bytes(32))


class _Progress:
    """A progress bar over studies, on a terminal only."""

    def __init__(self) -> None:
        self._bar: object = None

    def start(self, studies: Sequence[StudyInput]) -> None:
        from tqdm import tqdm

        logger.info("%s", _counted(sum(len(study.files) for study in studies), len(studies)))
        self._bar = tqdm(total=len(studies), unit="study", file=sys.stderr, disable=None)

    def advance(self, outcome: StudyOutcome) -> None:
        self._bar.update()  # type: ignore[attr-defined]

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()  # type: ignore[attr-defined]


def _summarize(result: RunResult, output: Path) -> None:
    for refusal in result.refused:
        logger.warning("refused %s (%s): %s", refusal.source, refusal.rule, refusal.reason)
    images = sum(len(study.images) for study in result.studies)
    logger.info(
        "%s processed, %d refused; %s. %s",
        _counted(images, len(result.studies)),
        len(result.refused),
        output / "results.json",
        result.notice,
    )


def _counted(images: int, studies: int) -> str:
    """Returns '1 image in 1 study', or with other numbers."""
    return f"{images} image{'s' * (images != 1)} in {studies} {'study' if studies == 1 else 'studies'}"
