"""Measures calibration and selective prediction with a posterior over the weights, compared with the plain network.

    mtmedformer cohort COHORT --patients 500 --image-size 96 --seed 3
    python benchmarks/uncertainty.py --data COHORT --size 64 --seeds 2

Each seed trains the chest bundle's network from scratch (or loads `--weights`), sums squared gradients sample by sample
over the training list, fits one temperature on the validation list, and evaluates on the test list. Prints Markdown
tables: mean and standard deviation over seeds.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from bundle_runs import CHEST, make_workflow, training_overrides
from command_line import make_parser
from monai.bundle import ConfigWorkflow
from monai.data import DataLoader
from result_tables import print_summary
from torch import Tensor, nn

from mtmedformer_monai.data import RadiographDataset, load_datalist
from mtmedformer_monai.engines import PrepareMultiTaskBatch
from mtmedformer_monai.federated.pvi.equations import PrecisionScale, likelihood_precision
from mtmedformer_monai.federated.pvi.squared_gradient import exact_squared_gradient
from mtmedformer_monai.metrics import expected_calibration_error
from mtmedformer_monai.metrics.selective import (
    SelectiveMetric,
    class_confidence,
    class_risk,
    mask_confidence,
    mask_risk,
)
from mtmedformer_monai.tasks import ClassificationTask, SegmentationTask, Task
from mtmedformer_monai.uncertainty.linearized import LastLayerInferer
from mtmedformer_monai.uncertainty.posterior_file import WeightPosterior
from mtmedformer_monai.uncertainty.posterior_inferer import PosteriorInferer
from mtmedformer_monai.uncertainty.sampling import SHARED, task_of
from mtmedformer_monai.uncertainty.temperature import fit_temperature, summed_nll, validation_nll

TEMPERATURES = tuple(10.0**exponent for exponent in range(-5, 1))
LAST_LAYER_TEMPERATURES = tuple(10.0**exponent for exponent in range(-3, 5))
SCALES = {
    "sampled": PrecisionScale(0.03, 1.0),
    "sampled, isotropic": PrecisionScale(0.03, 0.0),
    "sampled, curvature alone": PrecisionScale(0.0, 1.0),
}
CLASSES, MASKS = ("finding", "pneumonia_type"), ("lung", "opacity")
METRICS = ("risk", "nll", "brier", "ece", "aurc", "aurc_excess")
Batches = list[tuple[Tensor, dict[str, Tensor]]]
Predict = Callable[[Tensor], Mapping[str, Tensor]]
Row = dict[str, float]


def train(options: argparse.Namespace, seed: int, folder: str) -> ConfigWorkflow:
    """Runs the bundle's training unless weights are given; the workflow's parser has network, loss and transforms."""
    overrides = training_overrides(options.data, folder, options.size, options.epochs, seed, options.epochs)
    workflow = make_workflow(CHEST, ["train"], overrides)
    if not options.weights:
        workflow.run()
    return workflow


def batches_of(workflow: ConfigWorkflow, data: Path, section: str, batch_size: int = 64) -> Batches:
    """Returns a section of the datalist, loaded once, without augmentation."""
    parser = workflow.parser
    items = load_datalist(str(data / "datalist.json"), section)
    dataset = RadiographDataset(items, parser.get_parsed_content("validate#preprocessing"))
    prepare = PrepareMultiTaskBatch(parser.get_parsed_content("tasks"), keep_meta=False)
    return [prepare(batch) for batch in DataLoader(dataset, batch_size=batch_size)]


def posteriors_of(network: nn.Module, loss: nn.Module, singles: Batches, prior: float) -> dict[str, WeightPosterior]:
    """Returns posteriors from the training list as clients would send them, with exact squared gradients."""

    def loss_of(network: nn.Module, index: Tensor) -> Tensor:
        image, targets = singles[int(index)]
        return loss(network(image), targets)

    squares = exact_squared_gradient(network, torch.arange(len(singles)), loss_of)
    counts = {SHARED: len(singles)} | {
        task.name: sum(int(task.is_annotated(targets[task.name])) for _, targets in singles) for task in loss.tasks
    }
    posteriors = {}
    for method, scale in SCALES.items():
        found: dict[str, Tensor] = {}
        for name, square in squares.items():
            count = counts[task_of(name)]  # squares are means over all images, labeled or not
            found[name] = likelihood_precision(square * len(singles) / max(count, 1), count, scale)
        posteriors[method] = WeightPosterior(found, {name: torch.tensor(prior) for name in found})
    return posteriors


def fit(name: str, make: Callable[[float], Predict], batches: Batches, tasks: list[Task]) -> float:
    """Fits the temperature from the sums of one site."""
    grid = LAST_LAYER_TEMPERATURES if name == "last layer" else TEMPERATURES
    predictors = {temperature: make(temperature) for temperature in grid}
    sums = validation_nll(lambda image, value: predictors[value](image), batches, tasks, grid)
    print(f"{name}: NLL", {t: round(v, 2) for t, v in zip(grid, sums.tolist(), strict=True)}, flush=True)
    return fit_temperature([sums], grid)


def scale_logits(network: nn.Module, batches: Batches, tasks: list[Task]) -> Predict:
    """Applies temperature scaling to the plain network, with one scale per task (Guo et al., ICML 2017)."""
    outputs = [(network(image), targets) for image, targets in batches]
    best = {}
    for task in tasks:
        if not isinstance(task, SegmentationTask | ClassificationTask):
            continue
        sums = {
            scale: sum(float(summed_nll([task], {task.name: out[task.name] * scale}, true)) for out, true in outputs)
            for scale in np.geomspace(0.1, 10.0, 41)
        }
        best[task.name] = min(sums, key=lambda scale: sums[scale])
    print("logits scaled by", {name: round(float(scale), 2) for name, scale in best.items()}, flush=True)
    return lambda image: {name: out * float(best.get(name, 1.0)) for name, out in network(image).items()}


def measure(predict: Predict, batches: Batches, tasks: list[Task]) -> dict[str, Row]:
    """Returns {task: metrics} on the test list."""
    outputs = [predict(image) for image, _ in batches]
    rows: dict[str, Row] = {}
    for task in tasks:
        if isinstance(task, SegmentationTask | ClassificationTask):
            probs = torch.cat([task.activate(output[task.name]) for output in outputs])
            target = torch.cat([targets[task.name] for _, targets in batches])
            known = task.is_annotated(target)
            rows[task.name] = _metrics(task, probs[known], target[known])
    return rows


def _metrics(task: Task, probs: Tensor, target: Tensor) -> Row:
    selective = SelectiveMetric()
    if isinstance(task, SegmentationTask):
        selective.update(mask_confidence(probs), mask_risk(probs, target))
        flat, truth = torch.stack([1 - probs.flatten(), probs.flatten()], dim=1), target.flatten()
    else:
        selective.update(class_confidence(probs), class_risk(probs, target))
        flat, truth = probs, target
    flat, labels = flat.double(), truth.long()
    confidence, chosen = flat.max(dim=1)
    row = selective.compute()
    row["nll"] = float(-flat.gather(1, labels[:, None]).clamp(min=1e-30).log().mean())
    row["brier"] = float((flat - nn.functional.one_hot(labels, flat.shape[1])).square().sum(dim=1).mean())
    row["ece"] = expected_calibration_error(confidence.numpy(), (chosen == labels).numpy().astype(bool))
    return row


def run(options: argparse.Namespace, seed: int) -> dict[str, dict[str, Row]]:
    """Returns {method: {task: metrics}} of one seed."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        workflow = train(options, seed, folder)
        network, tasks = (workflow.parser.get_parsed_content(name) for name in ("network", "tasks"))
        loss = workflow.parser.get_parsed_content("loss").eval()
        if options.weights:
            network.load_state_dict(torch.load(options.weights, map_location="cpu", weights_only=True))
        network.eval()
        trained = time.process_time()
        posteriors = posteriors_of(network, loss, batches_of(workflow, options.data, "training", 1), options.prior)
        estimated = time.process_time()
        validation, test = (batches_of(workflow, options.data, section) for section in ("validation", "test"))
    print(f"seed {seed}: training {trained - started:.0f} CPU s, precision {estimated - trained:.0f} CPU s", flush=True)

    def sampled(method: str, temperature: float) -> Predict:
        inferer = PosteriorInferer(posteriors[method], tasks, options.samples, temperature, seed)
        return lambda image: inferer(image, network)

    def linearized(temperature: float) -> Predict:
        inferer = LastLayerInferer(replace(posteriors["sampled"], temperature=temperature), tasks)
        return lambda image: inferer(image, network)

    with torch.no_grad():
        methods: dict[str, Predict] = {
            "plain": network,
            "plain, logits scaled": scale_logits(network, validation, tasks),
        }
        methods["sampled, T = 1"] = sampled("sampled", 1.0)
        for name, make in {name: partial(sampled, name) for name in SCALES}.items():
            methods[name] = make(fit(name, make, validation, tasks))
        methods["last layer"] = linearized(fit("last layer", linearized, validation, tasks))
        return {name: measure(predict, test, tasks) for name, predict in methods.items()}


def print_table(task: str, results: list[dict[str, dict[str, Row]]]) -> None:
    cases = np.mean([result["plain"][task]["cases"] for result in results])
    print()
    by_method = {method: [result[method][task] for result in results] for method in results[0]}
    print_summary(f"{task} ({cases:.0f} cases)", METRICS, by_method)


def main() -> None:
    """Runs all seeds, and prints the tables."""
    parser = make_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with datalist.json")
    parser.add_argument("--weights", type=Path, help="model.pt of the chest bundle, used instead of a training")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--prior", type=float, default=0.05, help="prior precision of every weight")
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    results = []
    for seed in range(options.seeds):
        results.append(run(options, seed))
        print(f"seed {seed}:", results[-1], flush=True)
    for task in (*CLASSES, *MASKS):
        print_table(task, results)


if __name__ == "__main__":
    main()
