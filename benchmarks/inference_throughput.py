"""Measures the images per second of `mtmedformer infer` on a folder, by number of processes.

    python benchmarks/inference_throughput.py [--workers 1 2]

Prints them for both bundles with their shipped weights, on generated images of `--source` pixels on the longer side.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from inference_sources import KINDS, copy_studies, make_source_parser, make_sources

NUM_STUDIES = 12


def main() -> None:
    parser = make_source_parser(__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="numbers of processes")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        print_workers(make_sources(Path(folder), options.source), options.workers)


def print_workers(sources: Mapping[str, Path], workers: Sequence[int]) -> None:
    """Prints the throughput of a folder of 12 studies for each number of processes, start of the processes excluded."""
    from mtmedformer_monai.deploy import run, study_runner

    print("| images per second | " + " | ".join(f"--workers {number}" for number in workers) + " |")
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


if __name__ == "__main__":
    main()
