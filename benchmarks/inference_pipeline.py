"""Measures `mtmedformer infer` from DICOM bytes to stored results, by part.

    python benchmarks/inference_pipeline.py [--cores 1 2] [--repeats 7] [--canvas 512]
    python benchmarks/inference_pipeline.py --cpu

Prints, for both bundles with their shipped weights, the median milliseconds per image of each part and its share of the
sum. The source images are generated: raw DICOM, 12 bits, `--source` pixels on the longer side. The network runs at the
bundle's canvas and, with `--canvas`, at a larger one, for which the weights were not trained: time depends on the size
alone. Each number of cores has a process of its own, pinned to that number of cores. `--cpu` measures CPU time, which
other processes disturb less: on one core of an idle machine, it equals the elapsed time. The last rows are the sizes of
the files of an image.

`inference_throughput.py` measures folders, `monai_deploy_cost.py` the same image in a chain of MONAI Deploy operators.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from inference_sources import KINDS, make_source_parser, make_sources
from part_clock import Clock

WRITERS = {
    "write_masks": "SEG",
    "write_maps": "SEG",
    "write_overlay": "overlay",
    "write_image_report": "SR",
    "write_layers_of": "report",
    "write_study_report": "SR",
    "write_page": "report",
    "write_table": "tables",
    "write_results": "tables",
}
FILES = ("_seg.dcm", "_heat_map.dcm", "_sr.dcm", "_overlay", "_report/")
PARTS = ("read", "transforms", "network", "postprocess", "SEG", "SR", "overlay", "report", "tables", "other")

Milliseconds = dict[str, float]


def wrap_writers(clock: Clock, writers: Sequence[Callable[..., Any]]) -> tuple[Callable[..., Any], ...]:
    """Returns writers under the names of their parts."""
    return tuple(clock.wrap(write, WRITERS[write.__name__]) for write in writers)


@dataclass(frozen=True)
class Case:
    """What to measure: a kind of image, its canvas (None: the bundle's own) and the number of cores."""

    kind: str
    image: Path
    canvas: int | None
    cores: int
    repeats: int
    is_cpu_time: bool = False


@dataclass(frozen=True)
class Measured:
    """Canvas, median milliseconds of each part, and kilobytes of each kind of file."""

    size: tuple[int, int]
    parts: Milliseconds
    kilobytes: dict[str, float]


def measure(case: Case) -> Measured:
    """Measures a case, in a process of its own."""
    pin(case.cores)
    from mtmedformer_monai.deploy import run, study_runner

    clock = Clock(time.process_time if case.is_cpu_time else time.perf_counter)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        configs = write_config(case, folder)
        options = study_runner.RunnerOptions(KINDS[case.kind], folder / "output", "cpu", configs=configs)
        model = _load_timed(options, clock)
        runner = study_runner.StudyRunner(
            options,
            wrap_writers(clock, study_runner.chosen(study_runner.IMAGE_WRITERS, options.outputs)),
            wrap_writers(clock, study_runner.chosen(study_runner.STUDY_WRITERS, options.outputs)),
            model,
        )
        with (
            patched(study_runner, "predict_image", clock.wrap(study_runner.predict_image, "postprocess")),
            patched(run, "write_results", clock.wrap(run.write_results, "tables")),
            patched(run, "process_all", lambda _, studies, *rest: [runner.process(study) for study in studies]),
        ):
            runs = [_time_once(run, run.InferOptions(options, (case.image,)), clock) for _ in range(case.repeats + 1)]
        sizes = sizes_of(folder / "output")
    rows, columns = model.parser.get_parsed_content("image_size")
    medians = {part: 1e3 * statistics.median(each[part] for each in runs[1:]) for part in PARTS}
    return Measured((rows, columns), medians, sizes)


def sizes_of(folder: Path) -> dict[str, float]:
    """Returns the kilobytes of each kind of file of an image."""
    sizes: dict[str, float] = defaultdict(float)
    for path in folder.glob("*/**/*"):
        if path.is_file():
            kind = next((kind for kind in FILES if kind in f"{path.parent.name}/{path.name}"), "other")
            sizes[kind] += path.stat().st_size / 1e3
    return sizes


def _load_timed(options: Any, clock: Clock) -> Any:
    """Returns the bundle's model, whose steps are timed."""
    from mtmedformer_monai.deploy.bundle_model import load_model

    model = load_model(options.bundle, options.device, configs=options.configs)
    return replace(
        model,
        preprocessing=clock.wrap(model.preprocessing, lambda **options: "read" if "end" in options else "transforms"),
        inferer=clock.wrap(model.inferer, "network"),
    )


def _time_once(run: Any, options: Any, clock: Clock) -> Milliseconds:
    """Processes one image with a loaded model, as `mtmedformer infer` does, and returns the seconds of each part."""
    clock.seconds.clear()
    with clock.part("other"):
        result = run.infer(options, run_writers=wrap_writers(clock, run.RUN_WRITERS))
    if result.refused:
        raise RuntimeError(f"the image was refused: {result.refused[0].reason}")
    return {part: clock.seconds[part] for part in PARTS}


def write_config(case: Case, folder: Path) -> tuple[Path, ...]:
    """Writes a configuration with the canvas of a case; returns no configuration for the bundle's own canvas."""
    if case.canvas is None:
        return ()
    rows, columns = json.loads((KINDS[case.kind] / "configs/inference.json").read_text())["image_size"]
    size = [case.canvas, max(32, round(case.canvas * columns / rows / 32) * 32)]
    path = folder / "canvas.json"
    path.write_text(json.dumps({"image_size": size, "on_weights_mismatch": "warn"}))
    return (path,)


@contextmanager
def patched(module: Any, name: str, value: Any) -> Iterator[None]:
    """Replaces an attribute of a module."""
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


def pin(cores: int) -> None:
    """Restricts this process to a number of cores, and PyTorch to as many threads."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    os.environ["OMP_NUM_THREADS"] = str(cores)
    import torch

    torch.set_num_threads(cores)
    logging.disable(logging.WARNING)


def in_process(function: Callable[..., Any], *args: Any) -> Any:
    """Calls a function in a new process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


def print_parts(sources: dict[str, Path], options: argparse.Namespace) -> None:
    """Prints one table of all parts, with one column per case."""
    columns = []
    for kind, image in sources.items():
        for canvas in (None, options.canvas):
            for cores in options.cores:
                case = Case(kind, image, canvas, cores, options.repeats, options.cpu)
                found = in_process(measure, case)
                title = f"{kind} {found.size[0]} x {found.size[1]}, {cores} core{'s' * (cores > 1)}"
                columns.append((title, found.parts, found.kilobytes))
    print("| part | " + " | ".join(name for name, *_ in columns) + " |")
    print("| --- |" + " ---: |" * len(columns))
    for part in PARTS:
        cells = [f"{parts[part]:.0f} ({parts[part] / sum(parts.values()):.0%})" for _, parts, _ in columns]
        print(f"| {part} | " + " | ".join(cells) + " |")
    print("| sum | " + " | ".join(f"{sum(parts.values()):.0f}" for _, parts, _ in columns) + " |")
    for kind in FILES:
        print(f"| {kind} (kB) | " + " | ".join(f"{sizes.get(kind, 0):.0f}" for *_, sizes in columns) + " |", flush=True)


def main() -> None:
    parser = make_source_parser(__doc__)
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--cpu", action="store_true", help="CPU time instead of elapsed time")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--canvas", type=int, default=512, help="rows of the larger canvas (default %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print_parts(make_sources(Path(folder), options.source), options)


if __name__ == "__main__":
    main()
