"""Uncertainty from a federation's own posterior: calibration and selective prediction beside the plain network.

    python benchmarks/federation_uncertainty.py --cache FOLDER --regime generated_tasks --seeds 2

Trains the hierarchical method, then predicts every task by its group's network: plainly, with logits scaled by one
temperature, and as the mean over weights drawn from the group's posterior, `N(mean, T / precision)`, whose precision is
at the temperature that the clients' iterates show (`ServerRule.group_networks`). T and the scale of the logits are
chosen on validation images. Prints means over seeds; AURC is the mean risk over all coverages, most confident first.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import torch
from command_line import make_parser
from federation_methods import parse_method
from federation_runs import Federation
from federation_training import Plan, predict
from federation_worlds import Images, make_world
from torch import Tensor

from mtmedformer_monai.tasks import ClassificationTask, SegmentationTask
from mtmedformer_monai.tasks.base import Task
from mtmedformer_monai.uncertainty.sampling import draw_weights

TEMPERATURES = (0.01, 0.03, 0.1, 0.3, 1.0)
SCALES = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8)
NUM_DRAWS = 8


def main() -> None:
    """Trains and measures all seeds, and prints the table."""
    options = _parse()
    rows: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
    for seed in range(options.seeds):
        for key, values in run(seed, options).items():
            rows[key].append(values)
    print("| task | prediction | NLL | ECE | risk | AURC | chosen |\n| --- | --- | --- | --- | --- | --- | --- |")
    for (task, name), values in rows.items():
        means = torch.tensor(values, dtype=torch.float64)
        cells = [f"{mean:.3f} ± {sd:.3f}" for mean, sd in zip(means.mean(0), means.std(0), strict=True)]
        print(f"| {task} | {name} | {' | '.join(cells)} |")


def run(seed: int, options: argparse.Namespace) -> dict[tuple[str, str], list[float]]:
    """Returns {(task, prediction): NLL, ECE, risk, AURC, chosen temperature or scale} of one seed."""
    world = make_world(options.regime, seed, options.image_size, options.cache, options.data)
    plan = Plan(options.rounds, options.epochs // options.rounds, options.lr, seed=seed)
    federation = Federation(world.tasks, world.sites, parse_method("bayesian"), plan)
    for _ in range(plan.rounds):
        federation.run_round()
    found = {}
    for task in world.tasks:
        group = next((name for name in federation.server.group_networks() if task.name in name.split("+")), None)
        if group is None or not isinstance(task, ClassificationTask | SegmentationTask):
            continue
        mean, precision = federation.server.group_networks()[group]
        network = federation.network
        validation, test = (
            [draws(network, task, each, mean, precision, temperature) for temperature in (0.0, *TEMPERATURES)]
            for each in (world.validation, world.test)
        )
        known, target = (_target(task, each) for each in (world.validation, world.test))
        best = min(range(1, len(validation)), key=lambda index: nll(validation[index], known))
        scale = min(SCALES, key=lambda value: nll(_scaled(validation[0], value), known))
        predictions = {
            "plain": (test[0], 0.0),
            "logits scaled": (_scaled(test[0], scale), scale),
            "posterior, T = 1": (test[-1], 1.0),
            "posterior, T chosen": (test[best], TEMPERATURES[best - 1]),
        }
        for name, (probability, chosen) in predictions.items():
            found[task.name, name] = [*measure(task, probability, target), chosen]
    return found


@torch.no_grad()
def draws(
    network: torch.nn.Module,
    task: Task,
    images: Images,
    mean: Mapping[str, Tensor],
    precision: Mapping[str, Tensor],
    temperature: float,
) -> Tensor:
    """Returns the mean probability over draws of the weights, (N, ...), of the annotated images."""
    known = task.is_annotated(images.data.targets[task.name])
    generator, total = torch.Generator().manual_seed(0), torch.zeros(())
    count = NUM_DRAWS if temperature > 0 else 1
    for _ in range(count):
        drawn = draw_weights(mean, precision, temperature, generator) if temperature > 0 else {}
        network.load_state_dict({**mean, **drawn}, strict=False)
        network.eval()
        outputs = [predict(network, part, [task.name])[task.name] for part in images.data.image[known].split(50)]  # type: ignore[arg-type]
        total = total + torch.cat(outputs).sigmoid()
    return total / count


def nll(probability: Tensor, target: Tensor) -> float:
    """Returns the mean negative log-likelihood of binary targets."""
    return float(torch.nn.functional.binary_cross_entropy(probability.clamp(1e-6, 1 - 1e-6), target))


def measure(task: Task, probability: Tensor, target: Tensor) -> list[float]:
    """Returns NLL, ECE (15 bins), risk and AURC; the risk of a mask is 1 - Dice, its confidence the expected Dice."""
    if isinstance(task, SegmentationTask):
        hard = (probability > 0.5).float()
        risk = 1 - _dice(hard, target)
        confidence = _dice(hard, probability)
    else:
        risk = ((probability > 0.5).float() != target).float().flatten()
        confidence = torch.maximum(probability, 1 - probability).flatten()
    order = confidence.argsort(descending=True)
    coverage = torch.arange(1, len(risk) + 1)
    aurc = float((risk[order].cumsum(0) / coverage).mean())
    return [nll(probability, target), _ece(probability, target), float(risk.mean()), aurc]


def _target(task: Task, images: Images) -> Tensor:
    target = images.data.targets[task.name]
    target = target[task.is_annotated(target)]
    return target if isinstance(task, SegmentationTask) else target.reshape(-1, 1)


def _scaled(probability: Tensor, scale: float) -> Tensor:
    return (scale * probability.clamp(1e-6, 1 - 1e-6).logit()).sigmoid()


def _dice(left: Tensor, right: Tensor) -> Tensor:
    """Returns the soft Dice of each image (N,); 1 where both are empty."""
    axes = tuple(range(1, left.ndim))
    overlap, total = (left * right).sum(axes), left.sum(axes) + right.sum(axes)
    return torch.where(total > 0, 2 * overlap / total.clamp(min=1e-6), torch.ones_like(total))


def _ece(probability: Tensor, target: Tensor) -> float:
    flat, truth = probability.flatten(), target.flatten()
    bins = (flat * 15).long().clamp(max=14)
    gaps = torch.zeros(15).index_add(0, bins, truth - flat)
    return float(gaps.abs().sum() / len(flat))


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
