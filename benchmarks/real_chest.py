"""Trains the chest bundle on three public sets of real images together, and evaluates it on each test split.

    python benchmarks/real_chest.py --kermany FOLDER --nih FOLDER --v7 FOLDER --output FOLDER

The sets have different labels (Kermany: finding and type; NIH: finding and boxes; V7: finding and lung masks). None has
opacity masks, so that task is omitted. Prints a Markdown table with one row per set and one for all sets together: mean
and standard deviation over seeds of the training (the split is fixed). Run the same command again to resume.
"""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path

import torch
from bundle_runs import CHEST, Metrics, evaluate, make_workflow, read_tasks
from command_line import add_threads_option, make_parser
from result_tables import print_summary
from study_runs import keep_settings

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
    parser = make_parser(__doc__)
    for name in SETS:
        parser.add_argument(f"--{name}", type=Path, required=True, help=f"folder of {SETS[name]}")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=2)
    add_threads_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    keep_settings(options.output / "settings.json", {"size": options.size, "epochs": options.epochs})
    lists = {
        name: convert_dataset(full, getattr(options, name), options.output / f"data/{name}.json")
        for name, full in SETS.items()
    }
    lists[ALL] = join_datalists(dict(lists), options.output / "data/all.json")
    runs = [_run(seed, lists, options) for seed in range(options.seeds)]
    print(f"\n{options.seeds} seeds, {options.size} px, {options.epochs} epochs\n")
    print_summary("test split of", METRICS, {name: [run[name] for run in runs] for name in lists})


def _run(seed: int, lists: dict[str, Path], options: argparse.Namespace) -> dict[str, Metrics]:
    """Trains once on all sets; returns the metrics on each set's test split."""
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
