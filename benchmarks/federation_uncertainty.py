"""Uncertainty from a federation's own posterior: calibration and selective prediction beside the plain network.

    python benchmarks/federation_uncertainty.py --cache FOLDER --regime generated_tasks --seeds 2

Trains the hierarchical method, then predicts every task by its group's network: plainly, with logits scaled by one
number per task, and as the mean over weights drawn from the group's posterior, whose precision is at the temperature
that the clients' iterates show (`ServerRule.group_networks`). Scales and temperatures are chosen on validation images;
metrics are those of `uncertainty.py`. Prints mean and standard deviation over seeds.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import torch
from command_line import make_parser
from federation_methods import parse_method
from federation_runs import Federation
from federation_training import Plan
from federation_worlds import Images, World, make_world
from torch import Tensor
from uncertainty import Batches, Predict, Row, measure, print_table, scale_logits

from mtmedformer_monai.networks import MTMedFormer
from mtmedformer_monai.tasks import ClassificationTask, SegmentationTask
from mtmedformer_monai.tasks.base import Task
from mtmedformer_monai.uncertainty.posterior_file import WeightPosterior
from mtmedformer_monai.uncertainty.posterior_inferer import PosteriorInferer
from mtmedformer_monai.uncertainty.temperature import fit_temperature, validation_nll

TEMPERATURES = (0.01, 0.03, 0.1, 0.3, 1.0)
NUM_DRAWS = 8
BATCH = 50


def main() -> None:
    """Trains and measures all seeds, and prints a table per task."""
    options = _parse()
    torch.set_num_threads(1)
    results: dict[str, list[dict[str, dict[str, Row]]]] = defaultdict(list)
    for seed in range(options.seeds):
        world = make_world(options.regime, seed, options.image_size, options.cache, options.data)
        plan = Plan(options.rounds, options.epochs // options.rounds, options.lr, seed=seed)
        for task, rows in run(world, plan).items():
            results[task].append(rows)
    for task, runs in results.items():
        print_table(task, runs)


def run(world: World, plan: Plan) -> dict[str, dict[str, dict[str, Row]]]:
    """Trains a federation; returns {task: {prediction: {task: metrics}}} of its masks and classes."""
    federation = Federation(world.tasks, world.sites, parse_method("bayesian"), plan)
    for _ in range(plan.rounds):
        federation.run_round()
    networks, found = federation.server.group_networks(), {}
    for task in world.tasks:
        group = next((name for name in networks if task.name in name.split("+")), None)
        if group is None or not isinstance(task, ClassificationTask | SegmentationTask):
            continue
        mean, precision = networks[group]
        federation.network.load_state_dict(mean, strict=False)
        posterior = WeightPosterior(precision, {name: torch.tensor(0.0) for name in precision})
        found[task.name] = compare(federation.network.eval(), task, posterior, world)
    return found


@torch.no_grad()
def compare(network: MTMedFormer, task: Task, posterior: WeightPosterior, world: World) -> dict[str, dict[str, Row]]:
    """Returns {prediction: {task: metrics}} of one task on test images.

    Args:
        network: with the posterior's mean as weights.
        task: masks or a classification.
        posterior: of the group that owns the task.
        world: with validation and test images.
    """
    validation, test = (_batches(images, task) for images in (world.validation, world.test))

    def sampled(temperature: float) -> Predict:
        inferer = PosteriorInferer(posterior, [task], NUM_DRAWS, temperature)
        return lambda image: inferer(image, network)

    predictors = {temperature: sampled(temperature) for temperature in TEMPERATURES}

    def predict(image: Tensor, temperature: float) -> dict[str, Tensor]:
        return dict(predictors[temperature](image))

    chosen = fit_temperature([validation_nll(predict, validation, [task], TEMPERATURES)], TEMPERATURES)
    print(f"{task.name}: temperature {chosen}", flush=True)
    methods: dict[str, Predict] = {
        "plain": network,
        "plain, logits scaled": scale_logits(network, validation, [task]),
        "posterior, T = 1": predictors[1.0],
        "posterior, T chosen": predictors[chosen],
    }
    return {name: measure(each, test, [task]) for name, each in methods.items()}


def _batches(images: Images, task: Task) -> Batches:
    """Returns the images with an annotation of a task, and its targets."""
    known = images.data.take(task.is_annotated(images.data.targets[task.name]).nonzero()[:, 0])
    parts = [known.take(rows) for rows in torch.arange(len(known)).split(BATCH)]
    return [(part.image, {task.name: part.targets[task.name]}) for part in parts]


def _parse() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument("--regime", default="generated_tasks")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=18, help="of each site, over all rounds (default %(default)s)")
    parser.add_argument("--lr", type=float, default=0.004)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--cache", type=Path, required=True, help="folder of prepared images")
    parser.add_argument("--data", type=Path, help="folder of the public sets, for real regimes")
    return parser.parse_args()


if __name__ == "__main__":
    main()
