"""Measures what one poisoned site of five does to a federation, and what screening does about it.

    OMP_NUM_THREADS=1 python benchmarks/poisoned_site.py --seeds 0 1 --output FOLDER

Prints a Markdown table: for each strategy and attack, with and without screening (`federated/screening.py`), the mean
and the spread (standard deviation over seeds) of lung Dice, opacity Dice and the finding's AUC on common test images,
and how often the poisoned and the honest sites were left out. The network is the bundles' tiny transformer; five sites
have equal shares of a generated chest cohort with all annotations. Attacks, in every round: `scaled`, the site's step
times 10; `flipped`, its step times -2; `labels`, it trains on inverted masks and classes and on no boxes. `none` is the
federation without an attack, `absent` the one of the four honest sites alone.

`--output` keeps the results of completed runs; the same command resumes.
"""

from __future__ import annotations

import copy
import json
import logging
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from command_line import add_threads_option, make_parser, prepare_process
from federation_data import Data
from federation_metrics import evaluate
from federation_starts import make_network, measure_scales
from federation_training import Plan, Site
from federation_worlds import Images, chest_tasks, generated_cohort
from torch import Tensor

from mtmedformer_monai.federated.aggregator import Aggregator
from mtmedformer_monai.federated.client.task_tensors import tasks_reached
from mtmedformer_monai.federated.exchange import ACCEPTED, IMAGES_BY_TASK, ROUND, to_exchange
from mtmedformer_monai.federated.message import Message, TensorKind, key, pick
from mtmedformer_monai.federated.screening import Screening
from mtmedformer_monai.federated.strategies import make_strategy

NUM_SITES = 5
POISONED = "site_1"
FACTORS = {"scaled": 10.0, "flipped": -2.0}
ATTACKS = ("none", "absent", "scaled", "flipped", "labels")
SCORES = ("lung", "opacity", "finding")


def with_wrong_labels(data: Data) -> Data:
    """Returns data with inverted masks and classes, and without any box; missing labels stay missing."""
    targets = {
        name: torch.where(target.isnan(), target, -torch.ones_like(target)) if name == "opacity_box" else 1.0 - target
        for name, target in data.targets.items()
    }
    return Data(data.image, targets)


def with_step(message: Message, start: Mapping[str, Tensor], factor: float) -> Message:
    """Returns a message whose steps of the weights are multiplied by a factor."""
    changed = dict(message)
    for name, value in pick(message, TensorKind.PRECISION_MEAN).items():
        if start[name].is_floating_point() and "running" not in name:
            still = message[key(TensorKind.PRECISION, name)] * start[name]
            changed[key(TensorKind.PRECISION_MEAN, name)] = still + factor * (value - still)
    return changed


def train(
    sites: Mapping[str, Data], test: Data, strategy: str, attack: str, screened: bool, plan: Plan
) -> dict[str, Any]:
    """Returns test scores, and how often the poisoned site and all honest ones were left out."""
    tasks = chest_tasks()
    network, method = make_network(tasks, plan.seed), make_strategy(strategy)
    scales = measure_scales(network, tasks, {name: data for name, data in sites.items() if name != POISONED})
    reached = tasks_reached(network, test.image[:1], [task.name for task in tasks])
    server = Aggregator(method, network.state_dict(), screening=Screening() if screened else None)
    clients = {
        name: Site(network, tasks, data, method.client(None), reached, scales, plan, number)
        for number, (name, data) in enumerate(sites.items())
    }
    states = {name: {-1: copy.deepcopy(client.rule.state_dict())} for name, client in clients.items()}
    left_out = {"poisoned": 0, "honest": 0}
    for number in range(plan.rounds):
        for name, client in clients.items():
            sent = server.broadcast(name)
            client.rule.load_state_dict(copy.deepcopy(states[name][sent.statistics[ACCEPTED]]))
            network.load_state_dict(client.rule.receive(sent.weights), strict=False)
            training = client.train()
            message = client.rule.send(training)
            states[name][number] = copy.deepcopy(client.rule.state_dict())
            if name == POISONED and attack in FACTORS:
                message = with_step(message, pick(sent.weights, TensorKind.MEAN), FACTORS[attack])
            statistics_of = {ROUND: number, IMAGES_BY_TASK: training.images_by_task}
            try:
                server.add(to_exchange(message, statistics_of), name)
            except ValueError:
                logging.warning("%s was refused", name)
        server.close_round()
        left_out["poisoned"] += POISONED in server.left_out
        left_out["honest"] += len(server.left_out.keys() - {POISONED})
    network.load_state_dict(server.weights(), strict=False)
    images = Images(test, {"all": torch.arange(len(test))})
    found = evaluate(network, tasks, images, scales, ["all"])
    return {**{name: found.tasks[name]["score"] for name in SCORES}, **left_out}


def shares_of(data: Data, attack: str, count: int) -> dict[str, Data]:
    """Returns the sites' training data."""
    sites = {f"site_{k + 1}": data.take(range(k, min(count, len(data)), NUM_SITES)) for k in range(NUM_SITES)}
    if attack == "absent":
        del sites[POISONED]
    if attack == "labels":
        sites[POISONED] = with_wrong_labels(sites[POISONED])
    return sites


def row_of(results: list[dict[str, Any]]) -> str:
    """Returns the cells of one configuration over all seeds."""
    cells = []
    for name in SCORES:
        values = [each[name] for each in results]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        cells.append(f"{statistics.fmean(values):.3f} ± {spread:.3f}")
    return " | ".join([*cells, str(sum(r["poisoned"] for r in results)), str(sum(r["honest"] for r in results))])


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1], help="seeds (default 0 1)")
    parser.add_argument("--strategies", nargs="+", default=["fedavg", "bayesian"])
    parser.add_argument("--attacks", nargs="+", default=list(ATTACKS), choices=ATTACKS)
    parser.add_argument("--image-size", type=int, default=32, help="pixels of an image's side (default %(default)s)")
    parser.add_argument("--images", type=int, default=100, help="training images of all sites (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=6, help="rounds (default %(default)s)")
    parser.add_argument("--local-epochs", type=int, default=2, help="epochs per round (default %(default)s)")
    parser.add_argument("--lr", type=float, default=2e-3, help="learning rate (default %(default)s)")
    parser.add_argument("--output", type=Path, required=True, help="folder for cohorts and results")
    add_threads_option(parser)
    arguments = parser.parse_args()
    prepare_process(arguments.threads)
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / "poisoned_site.json"
    done: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    print("| strategy | attack | screened | lung Dice | opacity Dice | finding AUC | poisoned out | honest out |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for strategy in arguments.strategies:
        for attack in arguments.attacks:
            for screened in (False,) if attack == "absent" else (False, True):
                results = []
                for seed in arguments.seeds:
                    plan = Plan(arguments.rounds, arguments.local_epochs, arguments.lr, seed=seed)
                    name = f"{strategy} {attack} {screened} {arguments.image_size} {arguments.images} {plan}"
                    if name not in done:
                        began = time.monotonic()
                        data, _ = generated_cohort(seed, arguments.image_size, arguments.output)
                        sites = shares_of(data["training"], attack, arguments.images)
                        done[name] = train(sites, data["test"], strategy, attack, screened, plan)
                        done[name]["seconds"] = time.monotonic() - began
                        path.write_text(json.dumps(done, indent=2))
                    results.append(done[name])
                print(f"| {strategy} | {attack} | {'yes' if screened else 'no'} | {row_of(results)} |", flush=True)


if __name__ == "__main__":
    main()
