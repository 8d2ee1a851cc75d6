"""Runs of a study: each in a process of its own, each a line of a file, so that a study resumes where it stopped."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any, TypeVar

R = TypeVar("R")


def run_missing(
    train: Callable[[R], dict[str, Any]], runs: Iterable[R], path: Path, workers: int, show: Callable[[R, Any], str]
) -> None:
    """Runs what has no result yet in parallel processes of one thread, and appends each result as soon as it is there.

    Args:
        train: of the top level of a module or a partial of it; returns the results of a run.
        runs: frozen dataclasses; all their fields together are the key, and equal ones are run once.
        path: of a file with one line of JSON per run.
        workers: number of processes.
        show: returns what is logged of a run and its record.
    """
    wanted, finished = list(dict.fromkeys(runs)), read_results(path)
    missing = [run for run in wanted if not any(_is_of(record, run) for record in finished)]
    logging.info("%d of %d runs are missing", len(missing), len(wanted))
    os.environ["OMP_NUM_THREADS"] = "1"
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _start_process) as pool:
        running = {pool.submit(train, run): run for run in missing}
        for number, future in enumerate(as_completed(running), start=1):
            run = running[future]
            record = asdict(run) | future.result()
            with path.open("a") as lines:
                lines.write(json.dumps(record) + "\n")
            logging.info("%d/%d %s: %s", number, len(missing), run, show(run, record))


def keep_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Writes settings that are not in the key of a run, and refuses others later: results would be of the first ones.

    Args:
        path: of a JSON file in the study's folder; settings that it has already are kept.
        settings: {name: value}, as JSON.

    Raises:
        ValueError: a setting differs from that in the file.
    """
    known = json.loads(path.read_text()) if path.is_file() else {}
    given = json.loads(json.dumps(settings))
    for name, value in given.items():
        if known.get(name, value) != value:
            raise ValueError(f"{path.parent} has runs with {name} {known[name]}, got {value}; use another --output.")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(known | given, indent=2) + "\n")


def read_results(path: Path) -> list[dict[str, Any]]:
    """Returns the records of a file, without a last line that was cut off."""
    records = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            logging.warning("%s has an incomplete line, which is ignored", path)
    return records


def _is_of(record: dict[str, Any], run: Any) -> bool:
    """Returns whether a record is that of a run; fields that it lacks, because they are newer, have their defaults."""
    defaults = {each.name: each.default for each in fields(run) if each.default is not MISSING}
    return asdict(run).items() <= (defaults | record).items()


def _start_process() -> None:
    import torch

    from mtmedformer_monai.federated.simulation.site_process import start_process

    start_process(1)  # and ends it when the study is killed
    torch.set_flush_denormal(True)
