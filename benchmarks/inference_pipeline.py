"""Measures `mtmedformer infer` from DICOM bytes to stored results, by part.

    python benchmarks/inference_pipeline.py [--cores 1 2] [--repeats 7] [--canvas 512]
    python benchmarks/inference_pipeline.py --cpu
    python benchmarks/inference_pipeline.py --workers 1 2
    python benchmarks/inference_pipeline.py --deploy-environment .monai_deploy

Prints, for both bundles with their shipped weights, the median milliseconds per image of each part and its share of the
sum. The source images are generated: raw DICOM, 12 bits, `--source` pixels on the longer side. The network runs at the
bundle's canvas and, with `--canvas`, at a larger one, for which the weights were not trained: time depends on the size
alone. Each number of cores has a process of its own, pinned to that number of cores. `--cpu` measures CPU time, which
other processes disturb less: on one core of an idle machine, it equals the elapsed time. The last rows are the sizes of
the files of an image.

With `--workers`, prints the throughput of a folder for each number of processes. With `--deploy-environment`, prints
the same image's time in a chain of MONAI Deploy operators (see `monai_deploy_chain.py`), in an environment of its own
that is built in that folder if need be (2 GB), or why it could not be built.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pydicom
from bundle_runs import CHEST, MAMMOGRAPHY
from command_line import make_parser

ROOT = Path(__file__).parents[1]
NUM_STUDIES = 12
KINDS = {"chest": CHEST, "mammography": MAMMOGRAPHY}
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


class Clock:
    """Adds up the time of parts; nested parts count for the inner one only."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._now = now
        self._inner: list[float] = []

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Adds the time of a block to a part, without the parts within it."""
        start = self._now()
        self._inner.append(0.0)
        try:
            yield
        finally:
            elapsed = self._now() - start
            self.seconds[name] += elapsed - self._inner.pop()
            if self._inner:
                self._inner[-1] += elapsed

    def wrap(self, call: Callable[..., Any], name: str | Callable[..., str]) -> Callable[..., Any]:
        """Returns the callable under the name of a part, or of the part that a function of its options names."""

        def timed(*args: Any, **options: Any) -> Any:
            with self.part(name if isinstance(name, str) else name(**options)):
                return call(*args, **options)

        timed.__name__ = getattr(call, "__name__", "call")
        return timed

    def wrap_all(self, writers: Sequence[Callable[..., Any]]) -> tuple[Callable[..., Any], ...]:
        """Returns writers under the names of their parts."""
        return tuple(self.wrap(write, WRITERS[write.__name__]) for write in writers)


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
            clock.wrap_all(study_runner.chosen(study_runner.IMAGE_WRITERS, options.outputs)),
            clock.wrap_all(study_runner.chosen(study_runner.STUDY_WRITERS, options.outputs)),
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
        result = run.infer(options, run_writers=clock.wrap_all(run.RUN_WRITERS))
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


def make_sources(folder: Path, longest: int) -> dict[str, Path]:
    """Writes one DICOM image of each kind: an image of a cohort, enlarged to a longer side, with noise, 12 bits."""
    import numpy as np
    from PIL import Image

    from mtmedformer_monai.data.synthetic.cohorts import make_cohort

    made = {}
    for kind in KINDS:
        source = sorted(make_cohort(kind, folder / kind, 8, 256, 5).parent.rglob("*.dcm"))[0]
        dataset = pydicom.dcmread(source)
        pixels = dataset.pixel_array.astype(np.float32)
        scale = longest / max(pixels.shape)
        size = (round(pixels.shape[1] * scale), round(pixels.shape[0] * scale))
        large = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
        large = large + np.random.default_rng(0).normal(0, 4, large.shape) * (large > 0)
        dataset.Rows, dataset.Columns = large.shape
        dataset.PixelData = np.clip(large, 0, 2**dataset.BitsStored - 1).astype("<u2").tobytes()
        for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
            if keyword in dataset:
                setattr(dataset, keyword, [f"{float(value) / scale:.6f}" for value in dataset[keyword].value])
        made[kind] = folder / f"{kind}.dcm"
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        dataset["PixelData"].is_undefined_length = False
        dataset.save_as(made[kind])
    return made


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


def print_workers(sources: dict[str, Path], workers: Sequence[int]) -> None:
    """Prints the throughput of a folder of 12 studies for each number of processes, start of the processes excluded."""
    from mtmedformer_monai.deploy import run, study_runner

    print("\n| images per second | " + " | ".join(f"--workers {number}" for number in workers) + " |")
    print("| --- |" + " ---: |" * len(workers))
    for kind, image in sources.items():
        rates = []
        for number in workers:
            with tempfile.TemporaryDirectory() as temporary:
                inputs = copy_studies(image, Path(temporary) / "input", NUM_STUDIES)
                ends: list[float] = []
                options = study_runner.RunnerOptions(KINDS[kind], Path(temporary) / "output", "cpu")
                run.infer(
                    run.InferOptions(options, (inputs,), number), on_study=lambda _, e=ends: e.append(time.time())
                )
                rates.append((len(ends) - number) / (ends[-1] - ends[number - 1]))  # after the first of each process
        print(f"| {kind} | " + " | ".join(f"{rate:.2f}" for rate in rates) + " |", flush=True)


def copy_studies(image: Path, folder: Path, count: int) -> Path:
    """Writes copies of an image as studies of their own."""
    folder.mkdir()
    dataset = pydicom.dcmread(image)
    for number in range(count):
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            setattr(dataset, keyword, pydicom.uid.generate_uid(entropy_srcs=[keyword, str(number)]))
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(folder / f"{number}.dcm")
    return folder


def build_deploy_environment(folder: Path) -> Path | str:
    """Returns the interpreter of an environment with the MONAI Deploy App SDK, or why it could not be built."""
    python = folder.resolve() / "bin/python"
    test = [str(python), "-c", "import monai.deploy.core, mtmedformer_monai"]
    if python.exists() and subprocess.run(test, capture_output=True, check=False).returncode == 0:
        return python
    install = [str(python), "-m", "pip", "install", "--quiet", "-c", "requirements.txt", "-r"]
    try:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True)
        subprocess.run(
            [*install, "deploy_app/requirements.txt", ".[deploy]"], cwd=ROOT, check=True, capture_output=True
        )
        subprocess.run(test, check=True, capture_output=True)
    except (subprocess.CalledProcessError, OSError) as error:
        output = getattr(error, "stderr", None) or str(error).encode()
        return output.decode(errors="replace").strip().splitlines()[-1]
    return python


def print_chain(sources: dict[str, Path], options: argparse.Namespace) -> None:
    """Prints the time of each operator in a chain of MONAI Deploy operators."""
    python = build_deploy_environment(options.deploy_environment)
    if isinstance(python, str):
        print(f"\nMONAI Deploy App SDK could not be installed: {python}")
        return
    print("\nMONAI Deploy operators, ms:")
    for kind, image in sources.items():
        for cores in options.cores:
            with tempfile.TemporaryDirectory() as temporary:
                folder = Path(temporary) / "input"
                folder.mkdir()
                shutil.copy(image, folder)
                script = [str(python), str(ROOT / "benchmarks/monai_deploy_chain.py")]
                arguments = [folder, KINDS[kind], Path(temporary) / "output", cores, options.repeats]
                done = subprocess.run(
                    [*script, *map(str, arguments)], capture_output=True, text=True, check=False,
                    env=os.environ | {"PYTHONPATH": str(ROOT)},
                )  # fmt: skip
            line = next((each for each in reversed(done.stdout.splitlines()) if each.startswith("{")), "")
            if not line:
                print(f"- {kind}, {cores} cores: failed: {(done.stderr.splitlines() or ['no output'])[-1]}")
                continue
            parts = {name: round(value) for name, value in json.loads(line).items()}
            print(f"- {kind}, {cores} cores: sum {sum(parts.values())}, {parts}", flush=True)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--cpu", action="store_true", help="CPU time instead of elapsed time")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--canvas", type=int, default=512, help="rows of the larger canvas (default %(default)s)")
    parser.add_argument("--source", type=int, default=2048, help="longer side of the images (default %(default)s)")
    parser.add_argument("--workers", type=int, nargs="+", help="print the throughput for these numbers of processes")
    parser.add_argument("--deploy-environment", type=Path, help="folder of an environment for MONAI Deploy")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sources = make_sources(Path(folder), options.source)
        print_parts(sources, options)
        if options.deploy_environment:
            print_chain(sources, options)
        if options.workers:
            logging.disable(logging.WARNING)
            print_workers(sources, options.workers)


if __name__ == "__main__":
    main()
