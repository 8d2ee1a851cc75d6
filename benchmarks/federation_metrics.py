"""Metrics of the networks that a federation leaves behind: by task, by image and by site.

Axes: N images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from federation_data import Data
from federation_training import predict
from federation_worlds import Images
from monai.metrics import compute_dice
from torch import Tensor

from mtmedformer_monai.networks import MTMedFormer
from mtmedformer_monai.tasks import ClassificationTask, SegmentationTask
from mtmedformer_monai.tasks.base import Task

Metrics = dict[str, float]
BATCH = 50


@dataclass(frozen=True)
class Evaluation:
    """Metrics of one network, or of the networks that serve the tasks.

    Attributes:
        tasks: {task: its metrics}; `score` is the primary one, `loss` is divided by the common initial loss.
        images: {segmentation task: Dice of each image (N,)}, NaN without a structure.
        sites: {site: {task: score on the images that are like the site's own}}.
        best: {task: best score of an owner's network on all images}, for networks of sites.
    """

    tasks: dict[str, Metrics]
    images: dict[str, Tensor]
    sites: dict[str, Metrics]
    best: dict[str, float] = field(default_factory=dict)


@torch.no_grad()
def evaluate(
    network: MTMedFormer, tasks: Sequence[Task], images: Images, scales: Mapping[str, float], sites: Sequence[str]
) -> Evaluation:
    """Measures one network on all images, and on those of the given sites.

    Args:
        network: to measure.
        tasks: with a common initial loss in `scales`; others were trained nowhere.
        images: of the world.
        scales: {task: initial loss}.
        sites: that the network serves.
    """
    network.eval()
    data = images.data
    names = [task.name for task in tasks]
    batches = [predict(network, data.image[i : i + BATCH], names) for i in range(0, len(data), BATCH)]
    outputs = {name: torch.cat([batch[name] for batch in batches]) for name in names}
    found = {task.name: measure(task, outputs[task.name], data.targets[task.name]) for task in tasks}
    for name, metrics in found.items():
        metrics["loss"] /= scales[name]
    dice = {
        task.name: image_dice(task, outputs[task.name], data.targets[task.name])
        for task in tasks
        if isinstance(task, SegmentationTask)
    }
    by_site = {site: _scores(tasks, outputs, data, images.rows[site], found) for site in sites}
    return Evaluation(found, dice, by_site)


def measure(task: Task, output: Tensor, target: Tensor) -> Metrics:
    """Returns a task's metrics: `loss`, `score` (its primary metric), for classes also `ece` and `nll` per image."""
    known = task.is_annotated(target)
    output, target = output[known], target[known]
    if not len(target):
        return {"loss": math.nan, "score": math.nan}
    metrics = {"loss": float(task.loss(output, target))}
    if isinstance(task, SegmentationTask):
        return metrics | {"score": float(image_dice(task, output, target).nanmean())}
    metric = task.make_metric()
    metric.update(task.activate(output), target)
    values = metric.compute()
    metrics["score"] = values[task.primary_metric]
    if isinstance(task, ClassificationTask):
        metrics |= {"ece": values["ece"], "nll": float(task.negative_log_likelihood(output, target)) / len(target)}
    return metrics


def image_dice(task: SegmentationTask, output: Tensor, target: Tensor) -> Tensor:
    """Returns the mean Dice of the structures of each image (N,); NaN if none is annotated and present."""
    missing = torch.isnan(target)
    predicted = task.masks(task.activate(output)) & ~missing
    dice = compute_dice(predicted.float(), torch.nan_to_num(target), ignore_empty=True)
    return torch.as_tensor(dice).nanmean(dim=1)


def combine(
    parts: Mapping[str, Evaluation], owners: Mapping[str, Mapping[str, int]], rows: Mapping[str, Tensor]
) -> Evaluation:
    """Combines the evaluations of several networks: each task is served by its owners.

    Args:
        parts: {site: evaluation of its network}.
        owners: {task: {site: number of its images with this task's annotation}}.
        rows: {site: indices of the images that are like the site's own}.

    Returns:
        Means over the owners of each task, weighted by these numbers; each site's own scores. The Dice of an image is
        that of the sites whose images are like it, as a hospital infers on its own images.
    """
    tasks, images, best = {}, {}, {}
    for task, counts in owners.items():
        shares = {site: count / sum(counts.values()) for site, count in counts.items()}
        names = parts[next(iter(counts))].tasks[task]
        best[task] = max(parts[site].tasks[task]["score"] for site in counts)
        tasks[task] = {name: sum(shares[site] * parts[site].tasks[task][name] for site in shares) for name in names}
        if task in parts[next(iter(counts))].images:
            images[task] = _served(task, shares, parts, rows)
            tasks[task]["score"] = float(images[task].nanmean())
    return Evaluation(tasks, images, {site: part.sites[site] for site, part in parts.items()}, best)


def _served(
    task: str, shares: Mapping[str, float], parts: Mapping[str, Evaluation], rows: Mapping[str, Tensor]
) -> Tensor:
    """Returns the Dice of each image (N,) by the owners whose images are like it; by all of them if there are none."""
    dice = torch.stack([parts[site].images[task] for site in shares])
    weights = torch.zeros(dice.shape)
    for index, (site, share) in enumerate(shares.items()):
        weights[index, rows[site]] = share
    nobody = weights.sum(dim=0) == 0
    weights[:, nobody] = torch.tensor(list(shares.values()))[:, None]
    return (weights * dice).sum(dim=0) / weights.sum(dim=0)


def flatten(found: Evaluation, owners: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """Returns plain values: means over tasks, metrics by task, Dice by image, and scores by site.

    Args:
        found: evaluation.
        owners: {task: {site: number of images}}; a site's score is the mean over the tasks that it annotates.
    """
    masks = [found.tasks[task]["score"] for task in found.images]
    named = {f"{task}_{name}": value for task, metrics in found.tasks.items() for name, value in metrics.items()}
    known = {
        site: [value for task, value in scores.items() if site in owners.get(task, {}) and not math.isnan(value)]
        for site, scores in found.sites.items()
    }
    return {
        "dice": _mean(masks),
        "loss": sum(metrics["loss"] for metrics in found.tasks.values()),
        "score": _mean([metrics["score"] for metrics in found.tasks.values()]),
        "ece": _mean([metrics["ece"] for metrics in found.tasks.values() if "ece" in metrics]),
        "nll": _mean([metrics["nll"] for metrics in found.tasks.values() if "nll" in metrics]),
        **named,
        "best_owner_dice": _mean([value for task, value in found.best.items() if task in found.images]),
        "image_dice": {task: [round(float(x), 4) for x in each] for task, each in found.images.items()},
        "site_scores": {site: _mean(values) for site, values in known.items()},
        "site_dice": {
            site: _mean([v for task, v in scores.items() if task in found.images and site in owners.get(task, {})])
            for site, scores in found.sites.items()
        },
    }


def _scores(
    tasks: Sequence[Task], outputs: Mapping[str, Tensor], data: Data, rows: Tensor, found: Mapping[str, Metrics]
) -> Metrics:
    """Returns {task: score} on some images."""
    if len(rows) == len(data):
        return {name: metrics["score"] for name, metrics in found.items()}
    return {
        task.name: measure(task, outputs[task.name][rows], data.targets[task.name][rows])["score"] for task in tasks
    }


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
