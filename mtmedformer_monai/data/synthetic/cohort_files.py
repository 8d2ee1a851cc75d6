"""Shared functions of the cohort generators: parallel rendering, writing of the datalist, and argument checks."""

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

from mtmedformer_monai.data.datalist import Item, read_datalist, save_datalist
from mtmedformer_monai.data.synthetic.dicom.dicom_object import require_pydicom

FRACTIONS = {"training": 0.65, "validation": 0.15, "test": 0.2}

Split = Callable[[list[Item]], dict[str, list[Item]]]


def write_cohort(
    folder: Path, make: Callable[[int], list[Item]], num_patients: int, workers: int, split: Split, about: Item
) -> Path:
    """Renders all patients into a folder and writes the datalist.

    The datalist of an earlier cohort is removed first, and the new one is written last. A folder with a datalist
    therefore always contains a complete cohort, even if a call was interrupted.

    Args:
        folder: output folder of `images/`, `masks/` and `datalist.json`.
        make: writes the files of the patient with the given number and returns its items; may run in any process.
        num_patients: number of patients; they are numbered from 0.
        workers: number of processes; 1 renders in the current process.
        split: splits the items into {section: items}.
        about: further entries of the datalist.

    Returns:
        Path of the datalist.

    Raises:
        FileExistsError: the folder has a datalist of other data.
        RuntimeError: pydicom is too old to write the files.
    """
    require_pydicom()
    _check_replaceable(folder / "datalist.json")
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "datalist.json").unlink(missing_ok=True)
    sections = split(collect_items(make, num_patients, workers))
    return save_datalist(about | sections, folder / "datalist.json.part").replace(folder / "datalist.json")


def _check_replaceable(datalist: Path) -> None:
    if datalist.exists() and not str(read_datalist(datalist).get("name", "")).startswith("synthetic_"):
        raise FileExistsError(f"{datalist} is not that of a synthetic cohort, and is kept; choose another folder.")


def collect_items(make: Callable[[int], list[Item]], num_patients: int, workers: int) -> list[Item]:
    """Returns the items of all patients in order, and shows a progress bar.

    On Linux, processes are forked, as in PyTorch's data loader, so that they start immediately and import nothing. On
    other systems, forking is unsafe or unavailable, so scripts that call this function need the usual
    `if __name__ == "__main__":` guard.
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
    """Returns the number of processes; None selects one per CPU core."""
    return (os.cpu_count() or 1) if workers is None else workers


def check_size(num_patients: int, image_size: int, workers: int) -> None:
    """Checks the number of patients, the size of their images and the number of workers.

    Raises:
        ValueError: there are too few patients for three sections, images are too small, or there is no worker.
    """
    if num_patients < 8:
        raise ValueError(f"num_patients expects 8 or more, for three sections, got {num_patients}.")
    if image_size < 16:
        raise ValueError(f"image_size expects 16 pixels or more, to show anything, got {image_size}.")
    if workers < 1:
        raise ValueError(f"workers expects 1 or more processes, got {workers}; omit it for one per CPU core.")


def check_shares(argument: str, shares: Mapping[str, float], known: Sequence[str]) -> None:
    """Checks that shares are given for known names only.

    Raises:
        ValueError: a name is unknown.
    """
    if set(shares) - set(known):
        raise ValueError(f"{argument} expects names from {sorted(known)}, got {sorted(shares)}.")


def check_annotated(annotated: Mapping[str, Sequence[str]], sites: Sequence[str], known: Sequence[str]) -> None:
    """Checks that annotations refer to known sites and parts only.

    Raises:
        ValueError: a site or part is unknown.
    """
    if set(annotated) - set(sites):
        raise ValueError(f"annotated expects sites from {list(sites)}, got {sorted(annotated)}.")
    unknown = {part for parts in annotated.values() for part in parts} - set(known)
    if unknown:
        raise ValueError(f"annotated expects parts from {tuple(known)}, got {sorted(unknown)}.")


def draw_from(shares: Mapping[str, float], rng: np.random.Generator) -> str:
    """Draws a name with a probability proportional to its share."""
    chances = np.array(list(shares.values())) / sum(shares.values())
    return str(rng.choice(list(shares), p=chances))
