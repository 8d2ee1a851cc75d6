"""Runs inference on a folder, and writes the results of all studies; the implementation of `mtmedformer infer`."""

from __future__ import annotations

import datetime
import importlib.util
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mtmedformer_monai.deploy.privacy.anonymous_inputs import rename_inputs
from mtmedformer_monai.deploy.report.write_html import write_page

from .inputs import StudyInput, find_inputs
from .output_paths import inside
from .results import Refusal, RunResult, RunWriter
from .results_file import write_results
from .study_pool import process_all
from .study_runner import OutputError, RunnerOptions, StudyOutcome
from .table import write_table

RUN_WRITERS: tuple[RunWriter, ...] = (write_table, write_page)
"""Called once, after all studies. The writers of images and studies are listed in `study_runner.py`."""

RESULTS = "results.json"


@dataclass(frozen=True)
class InferOptions:
    """Arguments of `mtmedformer infer`.

    Attributes:
        runner: bundle, output folder and device.
        inputs: files, and folders that are searched recursively.
        workers: number of processes that load, predict and write studies; 1 works in this process.
        command: what to record as the command; see `RunResult.command`.
    """

    runner: RunnerOptions
    inputs: tuple[Path, ...]
    workers: int = 1
    command: tuple[str, ...] = ("infer",)


def infer(
    options: InferOptions,
    on_start: Callable[[Sequence[StudyInput]], None] = lambda studies: None,
    on_study: Callable[[StudyOutcome], None] = lambda outcome: None,
    run_writers: Sequence[RunWriter] = RUN_WRITERS,
) -> RunResult:
    """Processes all images, and writes `results.json`, `results.csv` and a folder per study.

    A file that cannot be processed is listed in `refused` and does not stop the run. Existing results of the same
    images are replaced, each file atomically.

    Args:
        options: what to process.
        on_start: called with the studies before the first one is processed.
        on_study: called with each outcome, in the order of completion.
        run_writers: writers of files about the run.

    Raises:
        FileNotFoundError: an input, the bundle or its weights do not exist.
        ValueError: an option, the bundle or its weights are not usable.
        OutputError: a result cannot be written.
    """
    if options.workers < 1:
        raise ValueError(f"--workers expects 1 or more, got {options.workers}.")
    if importlib.util.find_spec("highdicom") is None:
        raise ValueError("mtmedformer infer needs highdicom; install it with pip install 'mtmedformer-monai[deploy]'.")
    output = options.runner.output
    created = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    studies, refused = find_inputs(options.inputs, output, named=options.runner.deidentify is None)
    if options.runner.deidentify is not None:
        studies, refused = rename_inputs(studies, refused, options.runner.deidentify)
    _prepare_folder(output)
    on_start(studies)
    outcomes = process_all(options.runner, studies, options.workers, on_study)
    result = _collect(options, created, outcomes, refused)
    if "report" not in options.runner.outputs:
        run_writers = [write for write in run_writers if write is not write_page]
    try:
        for write in run_writers:
            result = replace(result, files={**result.files, **write(result, output)})
        write_results(result, inside(output, RESULTS))
    except OSError as error:
        raise OutputError(f"results cannot be written to {output} ({error.strerror}); free space.") from error
    return result


def _collect(
    options: InferOptions, created: str, outcomes: Sequence[StudyOutcome], refused: Sequence[Refusal]
) -> RunResult:
    from .bundle_model import describe_provenance

    runner = options.runner
    known = [outcome.provenance for outcome in outcomes if outcome.provenance.bundle_sha256]
    provenance = (
        known[0] if known else describe_provenance(runner.bundle, runner.weights, runner.device, runner.configs)
    )
    return RunResult(
        created=created,
        command=options.command,
        provenance=provenance,
        studies=tuple(outcome.result for outcome in outcomes if outcome.result is not None),
        refused=(*refused, *(refusal for outcome in outcomes for refusal in outcome.refused)),
    )


def _prepare_folder(folder: Path) -> None:
    """Creates the output folder.

    Raises:
        OutputError: it is a file, or not writable.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"--output expects a folder, and {folder} cannot be created ({error.strerror}).") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"--output expects a folder that can be written, and {folder} cannot; choose another.")
