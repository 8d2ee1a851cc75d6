"""Trains the chest bundle on real images of three public sets together, and evaluates it on each set's test split.

    python benchmarks/real_chest.py --kermany FOLDER --nih FOLDER --v7 FOLDER --output FOLDER

The sets carry different labels (Kermany: finding and type; NIH: finding and boxes; V7: finding and lung masks), none
has opacity masks. Prints a Markdown table: a row a set, and all together. Started again, it goes on where it stopped,
and evaluates a training that is done.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from pathlib import Path

import torch
from chest_choices import BUNDLE, make_workflow

from mtmedformer_monai.data import convert_dataset, join_datalists

SETS = {"kermany": "kermany", "nih": "nih_chestxray14", "v7": "v7_lungs"}
FIGURES = (
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
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    lists = {
        name: convert_dataset(full, getattr(options, name), options.output / f"data/{name}.json")
        for name, full in SETS.items()
    }
    lists["all together"] = join_datalists(dict(lists), options.output / "data/all.json")
    common = {
        "bundle_root": str(BUNDLE),
        "output_dir": str(options.output),
        "ckpt_dir": str(options.output / "models"),
        "image_size": [options.size, options.size],
        "max_epochs": options.epochs,
        "val_interval": 2,
        "seed": options.seed,
    }
    started = time.process_time()
    make_workflow(["train"], common | {"datalist": str(lists["all together"])}).run()
    seconds = time.process_time() - started
    rows = [_evaluate(name, path, common, options.output) for name, path in lists.items()]
    print(f"\nseed {options.seed}, {options.size} px, {options.epochs} epochs, {seconds:.0f} CPU s of training\n")
    print(f"| test split of | {' | '.join(FIGURES)} |\n|{' --- |' * (len(FIGURES) + 1)}\n" + "\n".join(rows))


def _evaluate(name: str, datalist: Path, common: dict[str, object], output: Path) -> str:
    folder = output / "evaluation" / name.replace(" ", "_")
    overrides = common | {"datalist": str(datalist), "evaluation_dir": str(folder)}
    make_workflow(["train", "evaluate"], overrides).run()
    figures = json.loads((folder / "metrics.json").read_text())
    cells = ["-" if figures.get(figure) is None else f"{figures[figure]:.3f}" for figure in FIGURES]
    return f"| {name} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
