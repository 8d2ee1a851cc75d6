"""Evaluates weights of the chest bundle, without training, on public sets and on new synthetic cohorts.

    python benchmarks/shipped_weights.py --output FOLDER --kermany FOLDER --nih FOLDER --v7 FOLDER --opacity FOLDER
    python benchmarks/shipped_weights.py --output FOLDER ... --weights MODELS_FOLDER OTHER_MODELS_FOLDER

Each folder of weights contains a `model.pt`; with `--average`, the mean of all of them is evaluated, too, which makes
sense for weights of one training and of its continuation (Wortsman et al., arXiv 2109.01903). Kermany, NIH and V7 are
tested on their test splits, the opacity set (`benchmarks/federation_public.py`) on all images, and so are the synthetic
cohorts, `generated` (plain) and `varied`. Prints a Markdown table with one row per folder and set. Its last two columns
are the mean share of the predicted lungs that is predicted as opacity, in normal films and in those with pneumonia.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from bundle_runs import CHEST, Metrics, evaluate, make_workflow, read_tasks
from command_line import add_threads_option, make_parser
from federation_public import all_tested, opacity_items
from result_tables import table_header, table_row

from mtmedformer_monai.data import convert_dataset
from mtmedformer_monai.data.datalist import SECTIONS
from mtmedformer_monai.data.synthetic.cohorts import make_cohort
from mtmedformer_monai.io.atomic_files import load_checkpoint, save_checkpoint

SETS = {"kermany": "kermany", "nih": "nih_chestxray14", "v7": "v7_lungs"}
METRICS = (
    "lung_dice",
    "opacity_dice",
    "opacity_box_ap",
    "finding_auc",
    "finding_ece",
    "pneumonia_type_auc",
)
SHARES = ("opacity share, normal", "opacity share, pneumonia")
"""Columns of `_opacity_shares`, in the order of the finding's classes."""

SEED, PATIENTS = 7, 300
"""Of the synthetic cohorts; their patients are none of the training cohorts', whose seed is 0."""

COHORTS = {"generated": "chest", "varied": "chest_varied"}
"""Kinds of the synthetic cohorts."""


def main() -> None:
    """Evaluates all weights on all sets, and prints the table."""
    parser = make_parser(__doc__)
    for name in (*SETS, "opacity"):
        parser.add_argument(f"--{name}", type=Path, help=f"folder of the set {SETS.get(name, name)}")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--weights", type=Path, nargs="+", default=[CHEST / "models"], help="folders with a model.pt")
    parser.add_argument("--average", action="store_true", help="evaluate the mean of all weights, too")
    add_threads_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.average:
        options.weights.append(_average(options.weights, options.output / "average"))
    logging.basicConfig(level=logging.WARNING)
    lists = _datalists(options)
    print(table_header("weights, set", [*METRICS, *SHARES]))
    for index, folder in enumerate(options.weights):
        for name, path in lists.items():
            metrics = _evaluate(folder, path, options.output / f"{index}_{name}")
            cells = ["-" if metrics.get(each) is None else f"{metrics[each]:.3f}" for each in [*METRICS, *SHARES]]
            print(table_row(f"{folder.name}, {name}", cells), flush=True)


def _average(folders: list[Path], folder: Path) -> Path:
    """Writes the mean of weights to a folder, and returns it."""
    several = [load_checkpoint(each / "model.pt") for each in folders]
    mean_of_all = {name: sum(each[name] for each in several) / len(several) for name in several[0]}
    save_checkpoint(mean_of_all, folder / "model.pt")
    return folder


def _datalists(options: argparse.Namespace) -> dict[str, Path]:
    """Returns {set: datalist} of the given sets and of the synthetic cohorts."""
    data = options.output / "data"
    lists = {
        name: convert_dataset(full, getattr(options, name), data / f"{name}.json")
        for name, full in SETS.items()
        if getattr(options, name)
    }
    if options.opacity:
        lists["opacity"] = all_tested(opacity_items(options.opacity, data), data / "opacity.json")
    return {**lists, **{name: _cohort(kind, data / name) for name, kind in COHORTS.items()}}


def _cohort(kind: str, folder: Path) -> Path:
    """Generates a cohort if it is not there, and returns a datalist that tests all images."""
    if not (folder / "datalist.json").is_file():
        make_cohort(kind, folder, PATIENTS, 256, SEED)
    found = json.loads((folder / "datalist.json").read_text())
    return all_tested([item for section in SECTIONS for item in found[section]], folder / "all.json")


def _evaluate(weights: Path, datalist: Path, folder: Path) -> Metrics:
    overrides = {
        "datalist": str(datalist),
        "output_dir": str(folder),
        "ckpt_dir": str(weights),
        "tasks": read_tasks(CHEST),
    }
    return evaluate(CHEST, ["train"], overrides, folder) | _opacity_shares(weights, overrides)


def _opacity_shares(weights: Path, overrides: dict[str, Any]) -> Metrics:
    """Returns {column: mean share of the lungs that is opacity}, both as predicted; None without films of a class."""
    parser = make_workflow(CHEST, ["train", "evaluate"], overrides).parser
    network = parser.get_parsed_content("network_def")
    network.load_state_dict(load_checkpoint(weights / "model.pt"))
    network.eval()
    shares: dict[float, list[float]] = {float(label): [] for label in range(len(SHARES))}
    for batch in parser.get_parsed_content("test#dataloader"):
        with torch.no_grad():
            found = network(batch["image"])
        lung, opacity = ((found[name] > 0).flatten(1) for name in ("lung", "opacity"))
        part = (opacity & lung).sum(dim=1) / lung.sum(dim=1).clamp(min=1)
        for label, share in zip(batch["finding"].flatten().tolist(), part.tolist(), strict=True):
            shares.get(label, []).append(share)  # NaN where the finding is not labeled
    return {name: mean(shares[label]) if shares[label] else None for label, name in enumerate(SHARES)}


if __name__ == "__main__":
    main()
