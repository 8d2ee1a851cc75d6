"""Compares fusing the views of a study with predictions for single images, on the generated cohort.

    python benchmarks/study_fusion.py --seeds 3

For each seed: a cohort, the mammography bundle's image training, then its study training from those weights. All rows
use the network after the study training, so all have seen the same images equally often: `one view` classifies each
image separately, `mean` and `largest` combine the image decoder's probabilities over a breast's (a study's) views,
`attention` is the study tasks' own output. Prints a Markdown table of AUC on test patients, mean and standard deviation
over seeds: of the three classes (mean of one against the rest), and of malignant against the rest.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bundle_runs import MAMMOGRAPHY, make_workflow
from command_line import add_threads_option, make_parser, prepare_process
from numpy.typing import NDArray
from result_tables import print_summary
from sklearn.metrics import roc_auc_score
from torch import Tensor

from mtmedformer_monai.data.synthetic.cohorts import make_cohort

COLUMNS = ("breast", "breast, malignant", "study", "study, malignant")
CONFIGS = ["train", "study_train"]


def main() -> None:
    """Trains over the seeds, and prints the table."""
    parser = make_parser(__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--patients", type=int, default=200)
    parser.add_argument("--size", type=int, nargs=2, default=[192, 128])
    parser.add_argument("--epochs", type=int, default=16, help="epochs of the image training")
    parser.add_argument("--study-epochs", type=int, default=8)
    add_threads_option(parser)
    options = parser.parse_args()
    prepare_process(options.threads)
    runs: list[dict[str, list[float]]] = []
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            runs.append(score(*train(seed, Path(folder), options)))
        print(f"seed {seed}: {runs[-1]}", flush=True)
    print(f"\n{options.seeds} seeds, {options.patients} patients, {options.size} px\n")
    by_method = {name: [dict(zip(COLUMNS, run[name], strict=True)) for run in runs] for name in runs[0]}
    print_summary("AUC", COLUMNS, by_method)


def train(seed: int, folder: Path, options: argparse.Namespace) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Trains on images, then on studies; returns outputs and targets of the test studies."""
    make_cohort("mammography", folder / "data", options.patients, 2 * options.size[0], seed)
    common = {"dataset_dir": str(folder / "data"), "image_size": list(options.size), "seed": seed, "val_interval": 4}
    image = _output_folders(folder / "image") | {"max_epochs": options.epochs, "batch_size": 8}
    make_workflow(MAMMOGRAPHY, ["train"], common | image).run()
    weights = str(folder / "image/models/model.pt")
    study = _output_folders(folder / "study") | {"max_epochs": options.study_epochs, "image_weights": weights}
    make_workflow(MAMMOGRAPHY, CONFIGS, common | study).run()
    workflow = make_workflow(MAMMOGRAPHY, [*CONFIGS, "evaluate"], common | study)
    workflow.run()
    return _predict(workflow.parser)


def _output_folders(folder: Path) -> dict[str, Any]:
    return {"output_dir": str(folder), "ckpt_dir": str(folder / "models")}


@torch.no_grad()
def _predict(parser: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Returns probabilities of image and study tasks, and their targets, for all test studies."""
    network = parser.get_parsed_content("network").eval()
    prepare = parser.get_parsed_content("prepare_batch")
    probs: dict[str, list[Tensor]] = {}
    targets: dict[str, list[Tensor]] = {}
    for batch in parser.get_parsed_content("test#dataloader"):
        image, target = prepare(batch)
        output = network(image)
        for name in ("pathology", "breast_pathology", "study_pathology"):
            values = output[name].softmax(dim=1)
            if name == "pathology":
                values[image[:, :, 0, 0].isnan().flatten()] = torch.nan
            probs.setdefault(name, []).append(values)
            targets.setdefault(name, []).append(target[name])
    return ({k: torch.cat(v) for k, v in probs.items()}, {k: torch.cat(v) for k, v in targets.items()})


def score(probs: dict[str, Tensor], targets: dict[str, Tensor]) -> dict[str, list[float]]:
    """Returns {row of the table: its columns}."""
    rows: dict[str, list[float]] = {"one view": [], "mean": [], "largest": [], "attention": []}
    for level, views in (("breast", 2), ("study", 4)):
        target = targets[f"{level}_pathology"]
        images = probs["pathology"].reshape(-1, views, 3)
        repeated = target.repeat_interleave(views)
        rows["one view"] += _auc(probs["pathology"], repeated)
        rows["mean"] += _auc(images.nanmean(dim=1), target)
        rows["largest"] += _auc(images.nan_to_num(nan=-1.0).amax(dim=1), target)
        rows["attention"] += _auc(probs[f"{level}_pathology"], target)
    return rows


def _auc(probs: Tensor, target: Tensor) -> list[float]:
    """Returns the mean AUC over classes, and that of malignant; rows without target or prediction are omitted."""
    known = ~(target.isnan() | probs.isnan().any(dim=1) | (probs < 0).any(dim=1))
    scores: NDArray[np.float64] = probs[known].double().numpy()
    classes = target[known].long().numpy()
    areas = [float(roc_auc_score(classes == k, scores[:, k])) for k in range(3)]
    return [float(np.mean(areas)), areas[2]]


if __name__ == "__main__":
    main()
