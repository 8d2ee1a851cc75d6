"""Draws the results of `benchmarks/multitask.py`: metrics by fold, free-response ROC curves and reliability.

    python benchmarks/multitask_pictures.py --output FOLDER --pictures FOLDER

`--output` is the folder of the comparison. Writes three pictures per setting: `scores` has one point per fold and
network; `froc` and `reliability` show the networks for all tasks on the test images of all folds of which each network
has its weights in the folder.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bundle_runs import make_workflow
from command_line import make_parser
from matplotlib.axes import Axes
from multitask import RESULTS, Run, overrides_of
from multitask_cohorts import COHORTS
from multitask_tables import SETTING, rows_of
from study_runs import read_results
from torch import Tensor

from mtmedformer_monai.metrics.detection import DetectionMetric
from mtmedformer_monai.metrics.detection_curves import froc_curve
from mtmedformer_monai.tasks import ClassificationTask, DetectionTask
from mtmedformer_monai.visualization.palette import FAINT, color_of, new_figure, save_figure

Outputs = dict[str, tuple[Tensor, Tensor]]
"""{task: (activated outputs, targets)} of the test images."""
BINS = 8
"""Bins of equally many images in the reliability diagrams."""


def main() -> None:
    """Draws the pictures."""
    parser = make_parser(__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder of the comparison")
    parser.add_argument("--pictures", type=Path, required=True, help="folder for the pictures")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    records = [record for record in read_results(options.output / RESULTS) if not record["variant"]]
    for setting in sorted({tuple(record[key] for key in SETTING) for record in records}):
        chosen = [record for record in records if tuple(record[key] for key in SETTING) == setting]
        stem = options.pictures / f"multitask_{setting[0]}_{setting[1]}"
        draw_scores(chosen, COHORTS[setting[0]].metrics, Path(f"{stem}_scores.png"))
        draw_curves(chosen, options.output, str(stem))


def draw_scores(records: Sequence[dict[str, Any]], metrics: Sequence[str], path: Path) -> None:
    """Draws one panel per metric, with a point per fold and network, and a line at its mean."""
    rows = rows_of(records)
    figure = new_figure(2.4 * len(metrics) + 1.6, 3.0)
    for index, metric in enumerate(metrics):
        axes = figure.add_subplot(1, len(metrics), index + 1)
        axes.set_title(metric.replace("_", " "), fontsize=10)
        for place, folds in enumerate(rows.values()):
            values = [run[metric] for run in folds.values() if run.get(metric) is not None]
            axes.plot([place] * len(values), values, "o", color=color_of(place), markersize=5, alpha=0.7)
            if values:
                axes.hlines(float(np.mean(values)), place - 0.3, place + 0.3, color=color_of(place))
        axes.set_xticks(range(len(rows)), list(rows), rotation=90, fontsize=8)
        axes.grid(axis="y", color=FAINT, linewidth=0.4)
    save_figure(figure, path)


def draw_curves(records: Sequence[dict[str, Any]], output: Path, stem: str) -> None:
    """Draws FROC curves of the boxes and reliability of the binary classes, of the networks for all tasks."""
    runs = [Run(**{each.name: record[each.name] for each in fields(Run)}) for record in records if not record["task"]]
    runs = [run for run in runs if _weights_of(run, output).is_file()]
    folds = {network: {run.fold for run in runs if run.network == network} for network in {run.network for run in runs}}
    common = set.intersection(*folds.values()) if folds else set()
    found: dict[str, list[Outputs]] = {network: [] for network in sorted(folds)}
    tasks: list[Any] = []
    for run in runs:
        if run.fold in common:
            tasks, outputs = test_outputs(run, output)
            found[run.network].append(outputs)
    pictures = ((DetectionTask, _draw_froc, "froc"), (ClassificationTask, _draw_reliability, "reliability"))
    for kind, draw, name in pictures:
        shown = [task for task in tasks if isinstance(task, kind) and getattr(task, "kind", "binary") == "binary"]
        figure = new_figure(4.0 * len(shown), 3.6)
        for index, task in enumerate(shown):
            axes = figure.add_subplot(1, len(shown), index + 1)
            axes.set_title(task.name.replace("_", " "), fontsize=10)
            for place, (network, folds) in enumerate(found.items()):
                draw(axes, task, [fold[task.name] for fold in folds], network, color_of(place))
            axes.grid(color=FAINT, linewidth=0.4)
            axes.legend(fontsize=8)
        save_figure(figure, Path(f"{stem}_{name}.png"))


@torch.no_grad()
def test_outputs(run: Run, output: Path) -> tuple[list[Any], Outputs]:
    """Returns the tasks, and what the trained network of a run predicts on its test images."""
    overrides = overrides_of(run, output, {})
    parser = make_workflow(COHORTS[run.cohort].bundle, ["train", "evaluate"], overrides).parser
    tasks, network = parser.get_parsed_content("tasks"), parser.get_parsed_content("network_def").eval()
    network.load_state_dict(torch.load(_weights_of(run, output), weights_only=True))
    parts: dict[str, list[tuple[Tensor, Tensor]]] = {task.name: [] for task in tasks}
    for batch in parser.get_parsed_content("test#dataloader"):
        predicted = network(batch["image"])
        for task in tasks:
            target = batch[task.name].as_subclass(Tensor)
            parts[task.name].append((task.activate(predicted[task.name]), target))
    return tasks, {
        name: (torch.cat([one for one, _ in pairs]), torch.cat([other for _, other in pairs]))
        for name, pairs in parts.items()
    }


def _weights_of(run: Run, output: Path) -> Path:
    return Path(overrides_of(run, output, {})["ckpt_dir"]) / "model.pt"


def _draw_froc(axes: Axes, task: DetectionTask, folds: list[tuple[Tensor, Tensor]], label: str, color: str) -> None:
    metric = task.make_metric()
    assert isinstance(metric, DetectionMetric)
    for probs, target in folds:
        metric.update(probs, target)
    detections, images = metric.matches()
    per_image, sensitivity = froc_curve(detections[:, 1], detections[:, 2] > 0, int(images.sum()), len(images))
    axes.step(per_image, sensitivity, where="post", color=color, label=f"{label} ({int(images.sum())} boxes)")
    axes.set(xlabel="false positives per image", ylabel="sensitivity", xlim=(0.0, 4.0), ylim=(0.0, 1.0))


def _draw_reliability(
    axes: Axes, task: ClassificationTask, folds: list[tuple[Tensor, Tensor]], label: str, color: str
) -> None:
    """Draws the frequency of the second class in bins of equally many images."""
    probs = torch.cat([probs.reshape(len(probs), -1)[:, -1] for probs, _ in folds]).double().numpy()
    target = torch.cat([target.reshape(-1) for _, target in folds]).double().numpy()
    known = ~np.isnan(target)
    order = np.argsort(probs[known], kind="stable")
    bins = np.array_split(order, BINS)
    means = [float(probs[known][each].mean()) for each in bins]
    rates = [float(target[known][each].mean()) for each in bins]
    axes.plot([0.0, 1.0], [0.0, 1.0], color=FAINT, linewidth=0.8)
    axes.plot(means, rates, "o-", color=color, markersize=4, label=f"{label} ({int(known.sum())} images)")
    axes.set(xlabel=f"predicted probability of {task.classes[-1]}", ylabel="observed frequency")


if __name__ == "__main__":
    main()
