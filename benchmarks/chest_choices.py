"""Measures the choices behind the chest bundle's defaults: loss balance, encoder, shared pyramid, number of tasks.

    python benchmarks/chest_choices.py balance --data COHORT --seeds 3
    python benchmarks/chest_choices.py encoder --data REAL --seeds 2 --size 112 --epochs 12

COHORT is a folder made by `mtmedformer cohort`; REAL is one with a datalist of real images. Each run is the bundle's
own training and evaluation on the test list with a few values overridden, one thread, from scratch. Prints a Markdown
table: mean and standard deviation over seeds of each task's figure, and the median CPU seconds of a training.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from bundle_runs import CHEST, evaluate, make_workflow, spread

METRICS = ("lung_dice", "opacity_dice", "opacity_box_ap", "finding_auc", "pneumonia_type_auc", "mean_score")

ENCODERS = "mtmedformer_monai.networks"
CHOICES: dict[str, dict[str, dict[str, Any]]] = {
    "balance": {
        "fixed, normalized": {},
        "fixed, as they are": {"loss_def#normalize": False},
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
        for kind, width in (("shared", 64), ("shared", 96), ("one a task", 32), ("one a task", 48), ("one a task", 64))
    },
}


def run(overrides: dict[str, Any], options: argparse.Namespace, seed: int) -> dict[str, float]:
    """One training and its evaluation; figures and CPU seconds."""
    with tempfile.TemporaryDirectory() as folder:
        common = {
            "dataset_dir": str(options.data),
            "output_dir": folder,
            "ckpt_dir": f"{folder}/models",
            "image_size": [options.size, options.size],
            "max_epochs": options.epochs,
            "warmup_epochs": 1,
            "val_interval": options.epochs,
            "seed": seed,
        }
        started = time.process_time()
        make_workflow(CHEST, ["train"], common | overrides).run()
        seconds = time.process_time() - started
        figures = evaluate(CHEST, ["train"], common | overrides, Path(folder, "evaluation"))
    return {name: figures.get(name) or float("nan") for name in METRICS} | {"seconds": seconds}


def main() -> None:
    """Runs all choices of a kind over the seeds, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=sorted(CHOICES))
    parser.add_argument("--data", type=Path, required=True, help="folder with datalist.json")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.disable(logging.INFO)
    results: dict[str, list[dict[str, float]]] = {name: [] for name in CHOICES[options.kind]}
    for seed in range(options.seeds):
        for name, overrides in CHOICES[options.kind].items():
            results[name].append(run(overrides, options, seed))
            print(f"seed {seed}, {name}: {results[name][-1]}", flush=True)
    print(f"\n{options.size} px, {options.epochs} epochs, {options.seeds} seeds\n")
    print(f"| {options.kind} | {' | '.join(METRICS)} | CPU s |\n|{' --- |' * (len(METRICS) + 2)}")
    for name, runs in results.items():
        cells = [spread([run[figure] for run in runs]) for figure in METRICS]
        print(f"| {name} | {' | '.join(cells)} | {statistics.median(run['seconds'] for run in runs):.0f} |")


if __name__ == "__main__":
    main()
