"""What generated cohorts share: processes that render, a datalist that is written last, options that are checked."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mtmedformer_monai.data.datalist import Item, save_datalist
from mtmedformer_monai.data.synthetic.dicom.dicom_object import require_pydicom

FRACTIONS = {"training": 0.65, "validation": 0.15, "test": 0.2}

Split = Callable[[list[Item]], dict[str, list[Item]]]


def write_cohort(
    folder: Path, make: Callable[[int], list[Item]], num_patients: int, workers: int, split: Split, about: Item
) -> Path:
    """Renders all patients into a folder, and writes the datalist.

    The datalist is written last, and one that was there before goes first: a folder with a datalist holds a whole
    cohort, even where an earlier call was interrupted.

    Args:
        folder: gets `images/`, `masks/` and `datalist.json`.
        make: writes the files of the patient of a number, and lists them; called in any process.
        num_patients: the numbers run from 0.
        workers: processes; 1 renders in this one.
        split: items to {section: items}.
        about: the datalist's other keys.

    Returns:
        Path of the datalist.

    Raises:
        RuntimeError: pydicom is too old to write the files.
    """
    require_pydicom()
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "datalist.json").unlink(missing_ok=True)
    sections = split(collect_items(make, num_patients, workers))
    return save_datalist(about | sections, folder / "datalist.json.part").replace(folder / "datalist.json")


def collect_items(make: Callable[[int], list[Item]], num_patients: int, workers: int) -> list[Item]:
    """All patients' items in order, with a progress bar.

    Linux forks, as torch's data loader does there: the processes start at once and import nothing. Elsewhere forking is
    unsafe or missing, and a script that calls this needs the usual `if __name__ == "__main__":`.
    """
    show = partial(tqdm, total=num_patients, desc="Cohort", unit="patient", mininterval=2.0)
    if workers == 1:
        return [item for items in show(map(make, range(num_patients))) for item in items]
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    pool = ProcessPoolExecutor(min(workers, num_patients), mp_context=context)
    try:
        return [item for items in show(pool.map(make, range(num_patients))) for item in items]
    finally:
        pool.shutdown(cancel_futures=True)


def count_workers(workers: int | None) -> int:
    """Number of processes: one per CPU core by default."""
    return (os.cpu_count() or 1) if workers is None else workers


def check_size(num_patients: int, workers: int) -> None:
    """Refuses a cohort that cannot be split, or that no one would make.

    Raises:
        ValueError: too few patients for three splits, or no worker.
    """
    if num_patients < 8:
        raise ValueError(f"num_patients expects 8 or more, to be split three ways, got {num_patients}.")
    if workers < 1:
        raise ValueError(f"workers expects 1 or more processes, got {workers}; leave it out for one per CPU core.")


def check_shares(argument: str, shares: Mapping[str, float], known: Sequence[str]) -> None:
    """Refuses shares of what is not known.

    Raises:
        ValueError: an unknown name.
    """
    if set(shares) - set(known):
        raise ValueError(f"{argument} expects names out of {sorted(known)}, got {sorted(shares)}.")


def check_annotated(annotated: Mapping[str, Sequence[str]], sites: Sequence[str], known: Sequence[str]) -> None:
    """Refuses annotations of sites or parts that are none.

    Raises:
        ValueError: an unknown site or part.
    """
    if set(annotated) - set(sites):
        raise ValueError(f"annotated expects sites out of {list(sites)}, got {sorted(annotated)}.")
    unknown = {part for parts in annotated.values() for part in parts} - set(known)
    if unknown:
        raise ValueError(f"annotated expects parts out of {tuple(known)}, got {sorted(unknown)}.")


def draw_from(shares: Mapping[str, float], rng: np.random.Generator) -> str:
    """Draws a name by its share."""
    chances = np.array(list(shares.values())) / sum(shares.values())
    return str(rng.choice(list(shares), p=chances))
