"""Trains the chest bundle on real images of three public sets together, and evaluates it on each set's test split.

    python benchmarks/real_chest.py --kermany FOLDER --nih FOLDER --v7 FOLDER --output FOLDER

The sets carry different labels (Kermany: finding and type; NIH: finding and boxes; V7: finding and lung masks), none
has opacity masks, so that task is left out. Prints a Markdown table: a row a set, and all together; mean and standard
deviation over seeds of the training (the split stays). Started again, it goes on where it stopped.
"""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path

import torch
from bundle_runs import CHEST, Metrics, evaluate, make_workflow, read_tasks, spread

from mtmedformer_monai.data import convert_dataset, join_datalists

SETS = {"kermany": "kermany", "nih": "nih_chestxray14", "v7": "v7_lungs"}
ALL = "all together"
METRICS = (
    "lung_dice",
    "lung_hausdorff95",
    "opacity_box_ap",
    "opacity_box_froc",
    "finding_auc",
    "finding_f1",
    "finding_ece",
    "pneumonia_type_auc",
    "pneumonia_type_f1",
)


def main() -> None:
    """Converts, joins, trains, evaluates, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in SETS:
        parser.add_argument(f"--{name}", type=Path, required=True, help=f"folder of {SETS[name]}")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    lists = {
        name: convert_dataset(full, getattr(options, name), options.output / f"data/{name}.json")
        for name, full in SETS.items()
    }
    lists[ALL] = join_datalists(dict(lists), options.output / "data/all.json")
    runs = [_run(seed, lists, options) for seed in range(options.seeds)]
    print(f"\n{options.seeds} seeds, {options.size} px, {options.epochs} epochs\n")
    print(f"| test split of | {' | '.join(METRICS)} |\n|{' --- |' * (len(METRICS) + 1)}")
    for name in lists:
        cells = [spread([run[name].get(figure) for run in runs]) for figure in METRICS]
        print(f"| {name} | {' | '.join(cells)} |")


def _run(seed: int, lists: dict[str, Path], options: argparse.Namespace) -> dict[str, Metrics]:
    """One training on all sets, and its figures on each set's test split."""
    folder = options.output / f"seed_{seed}"
    common = {
        "output_dir": str(folder),
        "ckpt_dir": str(folder / "models"),
        "image_size": [options.size, options.size],
        "max_epochs": options.epochs,
        "val_interval": 2,
        "seed": seed,
        "tasks": [task for task in read_tasks(CHEST) if task["name"] != "opacity"],
    }
    started = time.process_time()
    make_workflow(CHEST, ["train"], common | {"datalist": str(lists[ALL])}).run()
    logging.info("seed %d: %.0f CPU seconds of training", seed, time.process_time() - started)
    return {
        name: evaluate(
            CHEST, ["train"], common | {"datalist": str(path)}, folder / "evaluation" / name.replace(" ", "_")
        )
        for name, path in lists.items()
    }


if __name__ == "__main__":
    main()
