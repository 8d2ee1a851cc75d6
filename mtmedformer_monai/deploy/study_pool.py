"""Processes studies in this process or in several, and survives a process that is killed."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

from .inputs import StudyInput
from .results import Provenance, Refusal
from .study_runner import RunnerOptions, StudyOutcome, StudyRunner

_PRELOADED = ["mtmedformer_monai.deploy.study_runner", "monai.bundle", "highdicom"]
"""Modules that worker processes share from the start, instead of importing them for seconds each."""

_runner: StudyRunner | None = None
"""The runner of a worker process."""


def process_all(
    options: RunnerOptions,
    studies: Sequence[StudyInput],
    workers: int,
    on_study: Callable[[StudyOutcome], None],
) -> list[StudyOutcome]:
    """Processes all studies, and returns their outcomes in order.

    A study during which a process dies, such as by a crash of a decoder or a lack of memory, is tried again alone; if
    that process dies as well, its files are refused.

    Args:
        options: what the runners are built from.
        studies: the studies.
        workers: number of processes; 1 uses this process.
        on_study: called with each outcome, in the order of completion.
    """
    if workers == 1 or len(studies) <= 1:
        return _process_here(options, studies, on_study)
    outcomes: dict[int, StudyOutcome] = {}

    def keep(index: int, outcome: StudyOutcome) -> None:
        outcomes[index] = outcome
        on_study(outcome)

    waiting = list(range(len(studies)))
    while waiting:
        interrupted = _process_in_pool(options, studies, waiting, workers, keep)
        for index in interrupted:
            if _process_in_pool(options, studies, [index], 1, keep):
                keep(index, _died(studies[index]))
        waiting = [index for index in waiting if index not in outcomes]
    return [outcomes[index] for index in range(len(studies))]


def _process_here(
    options: RunnerOptions, studies: Sequence[StudyInput], on_study: Callable[[StudyOutcome], None]
) -> list[StudyOutcome]:
    runner, outcomes = StudyRunner(options), []
    for study in studies:
        outcomes.append(runner.process(study))
        on_study(outcomes[-1])
    return outcomes


def _process_in_pool(
    options: RunnerOptions,
    studies: Sequence[StudyInput],
    indices: Sequence[int],
    workers: int,
    keep: Callable[[int, StudyOutcome], None],
) -> list[int]:
    """Processes studies until all are done or a process dies; returns those that were in progress then."""
    threads = max(1, _num_cores() // workers)
    pool = ProcessPoolExecutor(min(workers, len(indices)), _context(), _start_worker, (threads,))
    pending: dict[Future[StudyOutcome], int] = {}
    try:
        pending = {pool.submit(_process, options, studies[index]): index for index in indices}
        started: set[int] = set()
        for future in as_completed(list(pending)):
            started = {pending[each] for each in pending if each.running()} or started
            keep(pending[future], future.result())
            del pending[future]
    except BrokenProcessPool:
        # Executors mark a few studies more than there are processes as running; trying these alone costs little.
        left = sorted(pending.values())
        return [index for index in left if index in started] or left[: workers + 1]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return []


def _context() -> multiprocessing.context.BaseContext:
    """Returns a way to start processes that is safe after threads and CUDA have been used here."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context


def _start_worker(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def _process(options: RunnerOptions, study: StudyInput) -> StudyOutcome:
    global _runner
    if _runner is None:  # built here, so that its errors reach the caller
        _runner = StudyRunner(options)
    return _runner.process(study)


def _died(study: StudyInput) -> StudyOutcome:
    reason = "its process ended twice while reading it (a damaged file, or too little memory); exclude the file."
    return StudyOutcome(
        None,
        tuple(Refusal(file.source, reason, "crash") for file in study.files),
        Provenance("", "", "", ""),
    )


def _num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
