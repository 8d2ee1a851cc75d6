"""Evaluates weights of the mammography bundle, without training, on all images of public sets.

    python benchmarks/shipped_mammography_weights.py --data SETS --output FOLDER

SETS is a folder of public sets (`benchmarks/multitask_cohorts.py`): mini-MIAS and both parts of CESM, whose images have
ACR densities for the most part. Prints a Markdown table with one row per set; a dash is where a set has no labels.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import torch
from bundle_runs import MAMMOGRAPHY, Metrics, evaluate, read_tasks
from command_line import add_threads_option, make_parser
from federation_public import Items, all_tested
from multitask_cohorts import COHORTS
from result_tables import table_header, table_row

from mtmedformer_monai.data.public.label_table import read_label_table

METRICS = (
    "lesion_dice",
    "lesion_box_ap",
    "lesion_box_froc",
    "pathology_auc",
    "pathology_ece",
    "breast_density_auc",
    "breast_density_kappa",
)
FOLDERS = {"cesm_malignant": "mammo_cesm_mal512", "cesm_cc": "mammo_cesm_cc"}
"""Sets with a column of ACR densities."""


def main() -> None:
    """Evaluates the weights on each set, and prints the table."""
    parser = make_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the public sets")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=MAMMOGRAPHY / "models", help="folder with a model.pt")
    add_threads_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.basicConfig(level=logging.ERROR)
    print(table_header("set", METRICS))
    for name, source in COHORTS["mammograms"].sources.items():
        items = source.read(options.data, options.output / "data")
        if name in FOLDERS:
            _add_densities(items, options.data / FOLDERS[name])
        metrics = _evaluate(items, options, name)
        cells = ["-" if metrics.get(each) is None else f"{metrics[each]:.3f}" for each in METRICS]
        print(table_row(f"{name}, {len(items)} images", cells), flush=True)


def _add_densities(items: Items, folder: Path) -> None:
    """Adds the labels of the bundle's density task where the set has them."""
    densities = {str(folder / row["image"]): row["density_acr"] for row in read_label_table(folder, ["density_acr"])}
    for item in items:
        if densities[item["image"]]:
            item["labels"] = {**item.get("labels", {}), "breast_density": densities[item["image"]]}


def _evaluate(items: Items, options: argparse.Namespace, name: str) -> Metrics:
    overrides = {
        "datalist": str(all_tested(items, options.output / f"data/{name}_all.json")),
        "output_dir": str(options.output / name),
        "ckpt_dir": str(options.weights),
        "tasks": read_tasks(MAMMOGRAPHY),
        "on_unused_label": "ignore",
    }
    return evaluate(MAMMOGRAPHY, ["train"], overrides, options.output / name)


if __name__ == "__main__":
    main()
