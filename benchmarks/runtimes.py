"""Measures a bundle's network in PyTorch, ONNX Runtime and OpenVINO.

    python benchmarks/runtimes.py [--sizes 128 192 512] [--threads 1 2] [--repeats 15] [--cpu]

Prints the smallest milliseconds of one image for each runtime, size and number of threads, and the largest difference
of an output from PyTorch's. `--cpu` measures the CPU time of all threads together, which other processes disturb less:
with one thread on an idle core, it equals the elapsed time. A runtime that is not installed is left out. Each case has
a process of its own, pinned to as many cores as it has threads.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bundle_runs import CHEST
from command_line import make_parser

RUNTIMES = {"torch": "torch", "onnx": "onnxruntime", "openvino": "openvino"}
"""{runtime: module}."""


@dataclass(frozen=True)
class Case:
    """What to measure; `exported` is an ONNX file of the bundle's network."""

    bundle: Path
    exported: Path
    runtime: str
    size: int
    threads: int
    repeats: int
    is_cpu_time: bool


def load_network(bundle: Path) -> Any:
    """Returns the bundle's network with its weights."""
    from mtmedformer_monai.deploy.bundle_model import load_model

    return load_model(bundle, "cpu").network


def make_call(case: Case) -> Callable[[Any], list[Any]]:
    """Returns a function that maps an image float32 (1, 1, H, W) to the network's outputs."""
    if case.runtime == "torch":
        import torch

        torch.set_num_threads(case.threads)
        network = load_network(case.bundle)

        def run(image: Any) -> list[Any]:
            with torch.no_grad():
                return [output.numpy() for output in network(torch.from_numpy(image)).values()]

        return run
    if case.runtime == "onnx":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = case.threads, 1
        session = onnxruntime.InferenceSession(str(case.exported), options, providers=["CPUExecutionProvider"])
        return lambda image: list(session.run(None, {"image": image}))
    import openvino

    core = openvino.Core()
    model = core.read_model(str(case.exported))
    model.reshape([1, 1, case.size, case.size])
    settings = {"INFERENCE_NUM_THREADS": case.threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(model, "CPU", settings)
    return lambda image: [compiled(image)[output] for output in compiled.outputs]


def measure(case: Case) -> tuple[float, list[Any]]:
    """Returns the smallest milliseconds of one image, and the outputs; runs in a process of its own."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: case.threads])
    import numpy as np

    call, now = make_call(case), time.process_time if case.is_cpu_time else time.perf_counter
    image = np.random.default_rng(0).random((1, 1, case.size, case.size), dtype=np.float32)
    outputs = call(image)
    times = []
    for _ in range(case.repeats):
        start = now()
        call(image)
        times.append(now() - start)
    return 1e3 * min(times), outputs


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--bundle", type=Path, default=CHEST)
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 192, 512])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--cpu", action="store_true", help="CPU time instead of elapsed time")
    options = parser.parse_args()
    runtimes = [name for name, module in RUNTIMES.items() if find_spec(module) is not None]
    print("| size, threads | " + " | ".join(runtimes) + " | largest difference |")
    print("| --- |" + " ---: |" * (len(runtimes) + 1))
    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder) / "network.onnx"
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            pool.submit(export, options.bundle, exported).result()
        for size in options.sizes:
            for threads in options.threads:
                common = (size, threads, options.repeats, options.cpu)
                print_row([Case(options.bundle, exported, each, *common) for each in runtimes])


def export(bundle: Path, path: Path) -> None:
    """Exports the bundle's network to ONNX."""
    from mtmedformer_monai.networks import export_onnx

    export_onnx(load_network(bundle), path)


def print_row(cases: list[Case]) -> None:
    """Prints the milliseconds of each case, and the largest difference from the first one's outputs."""
    import numpy as np

    times, outputs = [], []
    for case in cases:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            milliseconds, output = pool.submit(measure, case).result()
        times.append(f"{milliseconds:.0f}")
        outputs.append(output)
    worst = max(
        (float(np.abs(a - b).max()) for other in outputs[1:] for a, b in zip(outputs[0], other, strict=True)), default=0
    )
    print(f"| {cases[0].size}, {cases[0].threads} | " + " | ".join(times) + f" | {worst:.1e} |", flush=True)


if __name__ == "__main__":
    main()
