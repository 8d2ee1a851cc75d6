"""Cross-validates the mammography bundle on mini-MIAS, by woman, and measures what helps where images are few.

    python benchmarks/real_mammograms.py --mias FOLDER --output FOLDER --methods scratch pretrained

All four tasks; density by the set's own three classes. The methods, each trained and tested on the same folds:
- `scratch`: the bundle's configuration, random weights;
- `pretrained`: `configs/pretrain.json` on the training images of the fold and of the synthetic cohort, without labels;
  then as `scratch`, starting from these weights;
- `synthetic`: the fold's training images and a synthetic cohort, joined into one training list;
- `both`: pretrained, then joined.
No step uses a fold's test images. Prints a Markdown table: mean and standard deviation over folds. Run the same command
again to resume; other settings need another folder.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bundle_runs import MAMMOGRAPHY, Metrics, evaluate, make_workflow, read_tasks
from command_line import add_threads_option, make_parser, prepare_process
from result_tables import print_summary
from sklearn.model_selection import StratifiedGroupKFold
from study_runs import keep_settings

from mtmedformer_monai.data import convert_dataset, load_datalist, save_datalist
from mtmedformer_monai.data.synthetic.cohorts import make_cohort

METRICS = (
    "lesion_dice",
    "lesion_box_ap",
    "lesion_box_froc",
    "pathology_auc",
    "pathology_f1",
    "mias_density_auc",
    "mias_density_accuracy",
    "mias_density_kappa",
)
METHODS = ("scratch", "pretrained", "synthetic", "both")
DENSITY = {
    "_target_": "mtmedformer_monai.tasks.ClassificationTask",
    "name": "mias_density",
    "classes": ["fatty", "glandular", "dense"],
    "kind": "ordinal",
}
Items = list[dict[str, Any]]


def main() -> None:
    """Creates the folds, runs every method on each of them, and prints the table."""
    parser = make_parser(__doc__)
    parser.add_argument("--mias", type=Path, required=True, help="folder of mini-MIAS")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--size", type=int, nargs=2, default=[192, 128])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--pretraining-epochs", type=int, default=60)
    parser.add_argument("--synthetic-patients", type=int, default=100)
    add_threads_option(parser)
    options = parser.parse_args()
    prepare_process(options.threads)
    keep_settings(options.output / "settings.json", settings_of(options))
    path = convert_dataset("mini_mias", options.mias, options.output / "mias.json")
    items = [item for section in ("training", "validation", "test") for item in load_datalist(path, section)]
    results: dict[str, list[Metrics]] = {method: [] for method in options.methods}
    for fold, sections in enumerate(make_folds(items, options.folds)):
        for method in options.methods:
            results[method].append(run(method, sections, options.output / method / f"fold_{fold}", options))
            print(f"fold {fold}, {method}: {results[method][-1]}", flush=True)
    print(f"\n{options.folds} folds, {options.size} px, {options.epochs} epochs\n")
    print_summary("", METRICS, results)


def settings_of(options: argparse.Namespace) -> dict[str, Any]:
    """Returns the settings that all results in a folder share."""
    settings = {"folds": options.folds, "size": options.size, "epochs": options.epochs}
    if {"pretrained", "both"} & set(options.methods):
        settings["pretraining epochs"] = options.pretraining_epochs
    if set(options.methods) - {"scratch"}:
        settings["synthetic patients"] = options.synthetic_patients
    return settings


def make_folds(items: Items, folds: int) -> list[dict[str, Items]]:
    """Sections of each fold: no woman in two of them; an eighth of the training is for validation."""
    groups = [item["patient_id"] for item in items]
    classes = [item["labels"]["pathology"] for item in items]
    splits = StratifiedGroupKFold(folds, shuffle=True, random_state=0).split(items, classes, groups)
    return [_sections(items, groups, classes, kept, test) for kept, test in splits]


def _sections(items: Items, groups: Sequence[str], classes: Sequence[str], kept: Any, test: Any) -> dict[str, Items]:
    inner = StratifiedGroupKFold(8, shuffle=True, random_state=0)
    train, validation = next(inner.split(kept, np.array(classes)[kept], np.array(groups)[kept]))
    return {
        "training": [items[index] for index in kept[train]],
        "validation": [items[index] for index in kept[validation]],
        "test": [items[index] for index in test],
    }


def run(method: str, sections: dict[str, Items], folder: Path, options: argparse.Namespace) -> Metrics:
    """Runs one method on one fold; returns the metrics on the fold's test images."""
    path = folder / "evaluation/metrics.json"
    if path.is_file():
        metrics: Metrics = json.loads(path.read_text())
        return metrics
    settings = _settings(folder, options)
    synthetic = _synthetic(options) if method != "scratch" else []
    weights = ""
    if method in ("pretrained", "both"):
        unlabeled = {**sections, "training": sections["training"] + synthetic}
        weights = str(_pretrain(unlabeled, folder, options))
    extra = synthetic if method in ("synthetic", "both") else []
    datalist = save_datalist({**sections, "training": sections["training"] + extra}, folder / "datalist.json")
    settings |= {"datalist": str(datalist), "start_from": weights, "tasks": _tasks()}
    make_workflow(MAMMOGRAPHY, ["train"], settings).run()
    return evaluate(MAMMOGRAPHY, ["train"], settings, folder / "evaluation")


def _settings(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    return {
        "output_dir": str(folder),
        "ckpt_dir": str(folder / "models"),
        "image_size": list(options.size),
        "max_epochs": options.epochs,
        "batch_size": 8,
        "val_interval": 2,
        "seed": 0,
    }


def _tasks() -> list[dict[str, Any]]:
    """Returns the bundle's tasks, with the set's density in addition to BI-RADS's, which only synthetic images have."""
    return [*read_tasks(MAMMOGRAPHY), DENSITY]


def _pretrain(sections: dict[str, Items], folder: Path, options: argparse.Namespace) -> Path:
    """Runs masked image modeling on the training images; returns the weights of its best epoch."""
    output = folder / "pretraining"
    datalist = save_datalist(sections, output / "datalist.json")
    settings = _settings(output, options) | {"datalist": str(datalist), "max_epochs": options.pretraining_epochs}
    make_workflow(MAMMOGRAPHY, ["train", "pretrain"], settings).run()
    return output / "models/model.pt"


def _synthetic(options: argparse.Namespace) -> Items:
    """Returns the training images of a synthetic cohort, which is generated once."""
    folder = options.output / "synthetic"
    datalist = folder / "datalist.json"
    if not datalist.is_file():
        make_cohort("mammography", folder, options.synthetic_patients, 2 * options.size[0], seed=0)
    return load_datalist(datalist, "training")


if __name__ == "__main__":
    main()
