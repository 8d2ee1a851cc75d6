"""Compares start time, images per second and peak memory for a large cohort with MONAI's datasets.

    python benchmarks/large_cohort.py [--images 20000] [--size 512] [--workers 2] [--batches 60]

Prints a Markdown table with one row per method: seconds from the start of the process's work to the first batch
delivered to the trainer, images per second over the following batches, and the peak memory of the process and its
workers. Each method runs in a separate process, forked after all imports (whose memory is shared), twice: with an empty
cache, and again with the cache of the first start. The cohort is generated: a few DICOM files and lung masks (PNG) of
1,024 x 1,024 pixels, hard-linked to as many names, so that little disk space is used and the page cache is warm; the
second label is a class. All methods use the transforms of the chest bundle: reading, targets, letterbox to the size,
contrast; then random geometry and exposure.

`CacheDataset` prepares every image before the first step. If it exceeds the limit (`--limit` seconds or `--memory`
GiB), the process is stopped, and its row says so.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from command_line import make_parser
from monai.data import CacheDataset, DataLoader, PersistentDataset
from monai.data.utils import pickle_hashing
from monai.transforms import Compose
from monai.utils import set_determinism
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from mtmedformer_monai.data import RadiographDataset, load_datalist
from mtmedformer_monai.tasks import ClassificationTask, SegmentationTask
from mtmedformer_monai.transforms import (
    Letterboxd,
    LoadRadiographd,
    LoadTargetsd,
    RandExposured,
    RandGeometryd,
    StretchContrastd,
)

sys.path.append(str(Path(__file__).parents[1]))

from tests.conftest import make_header

METHODS = ("ours, none", "ours, memory", "ours, disk", "PersistentDataset", "CacheDataset")
SIDE, KINDS = 1024, 8


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--images", type=int, default=20_000, help="number of files in the cohort (default 20000)")
    parser.add_argument("--size", type=int, default=512, help="side of the prepared images, in pixels (default 512)")
    parser.add_argument("--workers", type=int, default=2, help="worker processes of the data loader (default 2)")
    parser.add_argument("--batches", type=int, default=60, help="number of timed batches of 8 (default 60)")
    parser.add_argument("--limit", type=float, default=3600, help="limit of a method's time in seconds (default 3600)")
    parser.add_argument("--memory", type=float, default=16, help="limit of a method's memory in GiB (default 16)")
    parser.add_argument(
        "--methods", nargs="+", choices=METHODS, default=METHODS, help="methods to measure (default: all)"
    )
    parser.add_argument("--folder", type=Path, help="folder for the cohort (default: a temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        options.folder = Path(folder)
        make_cohort(options.folder, options.images)
        print("| method | start | first step, s | images/s | peak memory, GiB |\n| --- | --- | --- | --- | --- |")
        for method in options.methods:
            for start in ("first", "second"):
                print(f"| {method} | {start} | {run_apart(options, method)} |", flush=True)


def make_cohort(folder: Path, count: int) -> None:
    """Creates DICOM files and masks under as many names, and their datalist."""
    items = []
    for kind in range(KINDS):
        values = np.random.default_rng(kind).normal(2000, 300, (SIDE, SIDE)).clip(0, 4095).astype(np.uint16)
        header = make_header(values, 12, "MONOCHROME2", "DX", WindowCenter="2048", WindowWidth="4096")
        header.file_meta = FileMetaDataset()
        header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        header.save_as(folder / f"kind{kind}.dcm", enforce_file_format=True)
        mask = np.zeros((SIDE, SIDE), np.uint8)
        mask[200:800, 150:450] = 255
        Image.fromarray(mask).save(folder / f"kind{kind}.png")
    for number in range(count):
        for ending in ("dcm", "png"):
            os.link(folder / f"kind{number % KINDS}.{ending}", folder / f"{number}.{ending}")
        labels = {"finding": ("normal", "pneumonia")[number % 2]}
        items.append({"image": f"{number}.dcm", "masks": {"lung": f"{number}.png"}, "labels": labels})
    (folder / "datalist.json").write_text(json.dumps({"training": items}))


def run_apart(options: argparse.Namespace, method: str) -> str:
    """Returns the cells of a row, measured in a separate process forked after all imports."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=measure, args=(options, method, sender))
    process.start()
    sender.close()
    try:
        result = receiver.recv() if receiver.poll(options.limit) else None
    except EOFError:  # the process exceeded the limit of memory and ended without a result
        return f"more than {options.memory:g} GiB | - | -"
    finally:
        process.kill()
        process.join()
    if result is None:
        return f"more than {options.limit:.0f} | - | -"
    return f"{result['first_step']:.1f} | {result['images_per_second']:.0f} | {result['peak_gib']:.2f}"


def measure(options: argparse.Namespace, method: str, sender: Any) -> None:
    """Runs one method in this process, and sends its results."""
    set_determinism(0)
    torch.set_num_threads(1)
    watch_memory(options.memory)
    begin = time.perf_counter()
    loader = DataLoader(make_dataset(options, method), batch_size=8, shuffle=True, num_workers=options.workers)
    batches: Iterator[Any] = iter(loader)
    next(batches)
    first_step = time.perf_counter() - begin
    begin, count = time.perf_counter(), 0
    for _, batch in zip(range(options.batches), batches, strict=False):
        count += len(batch["image"])
    seconds = time.perf_counter() - begin
    sender.send({"first_step": first_step, "images_per_second": count / seconds, "peak_gib": PEAK[0]})


def make_dataset(options: argparse.Namespace, method: str) -> Any:
    """Returns the cohort as one method's dataset."""
    tasks = [SegmentationTask("lung", ["lung"]), ClassificationTask("finding", ["normal", "pneumonia"], kind="binary")]
    keys = ["image", "lung"]
    fit = [Letterboxd(keys, (options.size, options.size)), StretchContrastd("image")]
    random = [RandGeometryd(keys, prob=0.8), RandExposured("image", prob=0.8)]
    transform = Compose([LoadRadiographd("image"), LoadTargetsd(tasks), *fit, *random])
    items, cache = load_datalist(options.folder / "datalist.json", "training"), options.folder / "cache"
    if method == "CacheDataset":
        return CacheDataset(items, transform, num_workers=2, progress=False)
    if method == "PersistentDataset":
        return PersistentDataset(
            items, transform, cache / "monai", hash_transform=pickle_hashing, track_meta=True, weights_only=False
        )
    return RadiographDataset(items, transform, cache=method.partition(", ")[2], cache_dir=cache)


PEAK = [0.0]


def watch_memory(limit: float) -> None:
    """Samples the memory of this process and its workers (proportional set size); exits above a limit in GiB."""

    def watch() -> None:
        while True:
            used = sum(map(proportional_set, [os.getpid(), *children()])) / 2**20
            PEAK[0] = max(PEAK[0], used)
            if used > limit:
                print(f"more than {limit:g} GiB", file=sys.stderr, flush=True)
                os._exit(1)
            time.sleep(0.25)

    threading.Thread(target=watch, daemon=True).start()


def children() -> list[int]:
    text = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text()
    return [int(number) for number in text.split()]


def proportional_set(process: int) -> int:
    """Returns the size in KiB; 0 for a process that has ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


if __name__ == "__main__":
    main()
