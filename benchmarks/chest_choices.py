"""Compares options of the chest bundle: loss balance, encoder, shared pyramid.

    python benchmarks/chest_choices.py balance --data COHORT --seeds 3
    python benchmarks/chest_choices.py encoder --data REAL --seeds 2 --size 112 --epochs 12

COHORT is a folder created by `mtmedformer cohort`, REAL a folder with a datalist of real images. Each run is the
bundle's own training from scratch, with one thread and a few overrides, and an evaluation on the test list. Prints a
Markdown table: mean and standard deviation over seeds of each metric, and the median CPU seconds of a training.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from bundle_runs import CHEST, Metrics, evaluate, make_workflow, training_overrides
from command_line import add_threads_option, make_parser, prepare_process
from result_tables import summarize, table_header, table_row

METRICS = ("lung_dice", "opacity_dice", "opacity_box_ap", "finding_auc", "pneumonia_type_auc", "mean_score")

ENCODERS = "mtmedformer_monai.networks"
CHOICES: dict[str, dict[str, dict[str, Any]]] = {
    "balance": {
        "fixed, normalized": {},
        "fixed, not normalized": {"loss_def#normalize": False},
        "uncertainty": {"loss_def#balance": "uncertainty"},
        "FAMO": {"loss_def#balance": "famo"},
    },
    "encoder": {
        "hierarchical transformer, tiny": {},
        "MONAI Swin, 24": {"network_def#encoder": {"_target_": f"{ENCODERS}.SwinEncoder"}},
        "MONAI ResNet-10, group norm": {
            "network_def#encoder": {"_target_": f"{ENCODERS}.ResNetEncoder", "name": "resnet10"}
        },
        "MONAI ResNet-18, group norm": {
            "network_def#encoder": {"_target_": f"{ENCODERS}.ResNetEncoder", "name": "resnet18"}
        },
    },
    "pyramid": {
        f"{kind}, {width} wide": {"network_def#shared_pyramid": kind == "shared", "network_def#pyramid_width": width}
        for kind, width in (
            ("shared", 64),
            ("shared", 96),
            ("one per task", 32),
            ("one per task", 48),
            ("one per task", 64),
        )
    },
}


def run(overrides: dict[str, Any], options: argparse.Namespace, seed: int) -> Metrics:
    """Trains and evaluates once; returns metrics and CPU seconds."""
    with tempfile.TemporaryDirectory() as folder:
        common = training_overrides(options.data, folder, options.size, options.epochs, seed, options.epochs)
        started = time.process_time()
        make_workflow(CHEST, ["train"], common | overrides).run()
        seconds = time.process_time() - started
        metrics = evaluate(CHEST, ["train"], common | overrides, Path(folder, "evaluation"))
    return {name: metrics.get(name) for name in METRICS} | {"seconds": seconds}


def main() -> None:
    """Runs all options of a kind over the seeds, and prints the table."""
    parser = make_parser(__doc__)
    parser.add_argument("kind", choices=sorted(CHOICES))
    parser.add_argument("--data", type=Path, required=True, help="folder with datalist.json")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=20)
    add_threads_option(parser)
    options = parser.parse_args()
    prepare_process(options.threads)
    results: dict[str, list[Metrics]] = {name: [] for name in CHOICES[options.kind]}
    for seed in range(options.seeds):
        for name, overrides in CHOICES[options.kind].items():
            results[name].append(run(overrides, options, seed))
            print(f"seed {seed}, {name}: {results[name][-1]}", flush=True)
    print(f"\n{options.size} px, {options.epochs} epochs, {options.seeds} seeds\n")
    print(table_header(options.kind, [*METRICS, "CPU s"]))
    for name, runs in results.items():
        cells = [summarize([run[metric] for run in runs]) for metric in METRICS]
        print(table_row(name, [*cells, f"{statistics.median(run['seconds'] for run in runs):.0f}"]))


if __name__ == "__main__":
    main()
