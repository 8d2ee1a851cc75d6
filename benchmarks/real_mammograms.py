"""Cross-validates the mammography bundle on mini-MIAS, by woman, and measures what helps where images are few.

    python benchmarks/real_mammograms.py --mias FOLDER --output FOLDER --methods scratch pretrained

All four tasks; density by the set's own three classes. The ways, each trained and tested on the same folds:
- `scratch`: the bundle's configuration, random weights;
- `pretrained`: first, `configs/pretrain.json` on the fold's training images without their labels (and on the
  synthetic cohort's), then as `scratch` from these weights;
- `synthetic`: the fold's training images and a synthetic cohort, joined into one training list;
- `both`: pretrained, then joined.
A fold's test images are seen by no step of it. Prints a Markdown table: mean and standard deviation over folds.
Started again, it goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bundle_runs import MAMMOGRAPHY, Metrics, evaluate, make_workflow, read_tasks, spread
from sklearn.model_selection import StratifiedGroupKFold

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
    """Makes the folds, runs every way on each, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mias", type=Path, required=True, help="folder of mini-MIAS")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--size", type=int, nargs=2, default=[192, 128])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--pretraining-epochs", type=int, default=60)
    parser.add_argument("--synthetic-women", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.disable(logging.INFO)
    path = convert_dataset("mini_mias", options.mias, options.output / "mias.json")
    items = [item for section in ("training", "validation", "test") for item in load_datalist(path, section)]
    results: dict[str, list[Metrics]] = {way: [] for way in options.methods}
    for fold, sections in enumerate(make_folds(items, options.folds)):
        for way in options.methods:
            results[way].append(run(way, sections, options.output / way / f"fold_{fold}", options))
            print(f"fold {fold}, {way}: {results[way][-1]}", flush=True)
    print(f"\n{options.folds} folds, {options.size} px, {options.epochs} epochs\n")
    print(f"| | {' | '.join(METRICS)} |\n|{' --- |' * (len(METRICS) + 1)}")
    for way, runs in results.items():
        print(f"| {way} | {' | '.join(spread([run.get(name) for run in runs]) for name in METRICS)} |")


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


def run(way: str, sections: dict[str, Items], folder: Path, options: argparse.Namespace) -> Metrics:
    """One fold of one way, to its figures on the fold's test images."""
    metrics = folder / "evaluation/metrics.json"
    if metrics.is_file():
        figures: Metrics = json.loads(metrics.read_text())
        return figures
    settings = _settings(folder, options)
    synthetic = _synthetic(options) if way != "scratch" else []
    weights = ""
    if way in ("pretrained", "both"):
        unlabeled = {**sections, "training": sections["training"] + synthetic}
        weights = str(_pretrain(unlabeled, folder, options))
    extra = synthetic if way in ("synthetic", "both") else []
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
    """The bundle's tasks, with the set's density beside BI-RADS's, which only synthetic images carry."""
    return [*read_tasks(MAMMOGRAPHY), DENSITY]


def _pretrain(sections: dict[str, Items], folder: Path, options: argparse.Namespace) -> Path:
    """Masked image modeling on the training images; the weights of its best epoch."""
    place = folder / "pretraining"
    datalist = save_datalist(sections, place / "datalist.json")
    settings = _settings(place, options) | {"datalist": str(datalist), "max_epochs": options.pretraining_epochs}
    make_workflow(MAMMOGRAPHY, ["train", "pretrain"], settings).run()
    return place / "models/model.pt"


def _synthetic(options: argparse.Namespace) -> Items:
    """Training images of a synthetic cohort, made once."""
    folder = options.output / "synthetic"
    datalist = folder / "datalist.json"
    if not datalist.is_file():
        make_cohort("mammography", folder, options.synthetic_women, 2 * options.size[0], seed=0)
    return load_datalist(datalist, "training")


if __name__ == "__main__":
    main()
