"""Measures the pooled gradient at the global mean by round: does the federation converge to a pooled optimum?

    python benchmarks/pooled_gradient.py --output FOLDER --seeds 2

Trains the chest bundle at three sites with different annotations. Augmentation, dropout and weight decay are off, so
that the sites train exactly the objective that is measured: the norm of the gradient of the mean loss over all sites'
training images, including the prior's if the strategy has one. Prints a Markdown table with mean and standard deviation
over seeds, and draws `pooled_gradient.png`. All methods share weights, batches and the learning rate schedule.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from bundle_runs import CHEST, read_tasks
from command_line import add_threads_option, make_parser, prepare_process
from result_tables import summarize, table_header, table_row
from torch import Tensor

from mtmedformer_monai.federated.aggregator import Aggregator
from mtmedformer_monai.federated.client.bayesian_monai_algo import BayesianMonaiAlgo
from mtmedformer_monai.federated.client.loss_scales import fix_initial_losses, split_initial_losses
from mtmedformer_monai.federated.simulation import SimulationSettings
from mtmedformer_monai.federated.simulation.bundle_parts import initial_weights
from mtmedformer_monai.federated.simulation.cohort import prepare_data
from mtmedformer_monai.federated.strategies import make_strategy
from mtmedformer_monai.visualization.palette import color_of, new_figure, save_figure

METHODS = {"bayesian": {}, "bayesian, isotropic": {"isotropic": 0.1, "curvature": 0.0}, "fedavg": {}, "fisher": {}}


def main() -> None:
    """Runs all methods over the seeds; prints and draws the results."""
    parser = make_parser(__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=16)
    parser.add_argument("--local-epochs", type=int, default=4)
    parser.add_argument("--patients", type=int, default=120)
    parser.add_argument("--image-size", type=int, default=48)
    add_threads_option(parser)
    options = parser.parse_args()
    prepare_process(options.threads)
    norms: dict[str, list[list[float]]] = {method: [] for method in options.methods}
    for seed in range(options.seeds):
        for method in options.methods:
            norms[method].append(run(method, seed, options))
            print(f"seed {seed}, {method}: {[round(value, 4) for value in norms[method][-1]]}", flush=True)
    shown = sorted({0, options.rounds // 4, options.rounds // 2, 3 * options.rounds // 4, options.rounds})
    print("\n" + table_header("after round", [str(number) for number in shown]))
    for method, runs in norms.items():
        print(table_row(method, [summarize([each[number] for each in runs]) for number in shown]))
    draw(norms, options.output / "pooled_gradient.png")


def run(method: str, seed: int, options: argparse.Namespace) -> list[float]:
    """Returns the gradient's norm before the first round and after each round."""
    settings = SimulationSettings(
        CHEST, options.output / f"seed_{seed}", partition="tasks", patients=options.patients,
        image_size=options.image_size, seed=seed,
    )  # fmt: skip
    plain = {
        "image_size": list(settings.input_size),
        "batch_size": 8,
        "weight_decay": 0.0,
        "rounds": options.rounds,
        "seed": seed,
        "network_def#encoder#drop_path": 0.0,
        "tasks": [task | ({"dropout": 0.0} if "kind" in task else {}) for task in read_tasks(CHEST)],
        "train#random_transforms": [],
        "train#handlers_with_state": "$[@train#history]",
    }
    name = method.partition(",")[0]
    clients = []
    for site, path in prepare_data(settings).sites.items():
        own = {"datalist": str(path), "output_dir": str(settings.output / method / site)}
        client = BayesianMonaiAlgo(
            str(CHEST), name, options.local_epochs, settings=METHODS[method], train_kwargs={**plain, **own}
        )
        client.initialize({"fl_client_name": site})
        clients.append(client)
    start = initial_weights(CHEST, plain, seed)
    strategy = make_strategy(name, **METHODS[method])
    server = Aggregator(strategy, start)
    for index, client in enumerate(clients):
        server.add_initial_losses(client.measure_losses(server.broadcast()), str(index))
    _, scales = split_initial_losses(server.broadcast().weights or {})
    for client in clients:
        fix_initial_losses(client.trainer.loss_function, scales)
    prior = float(getattr(strategy, "prior_precision", 0.0))
    found = [pooled_gradient(clients, server.weights(), start, prior)]
    for _ in range(options.rounds):
        sent = server.broadcast()
        for index, client in enumerate(clients):
            client.train(sent)
            server.add(client.get_weights(), str(index))
        server.close_round()
        found.append(pooled_gradient(clients, server.weights(), start, prior))
    return found


def pooled_gradient(clients: list[Any], mean: dict[str, Tensor], start: dict[str, Tensor], prior: float) -> float:
    """Returns the norm of the gradient of the mean loss over all sites' images, including the prior."""
    total: dict[str, Tensor] = {}
    num_images = sum(len(client.trainer.data_loader.dataset) for client in clients)
    for client in clients:
        network, loss = client.trainer.network, client.trainer.loss_function
        network.load_state_dict(mean)
        network.eval()
        count = len(client.trainer.data_loader.dataset)
        for batch in client.trainer.data_loader:
            image, targets = client.trainer.prepare_batch(batch, torch.device("cpu"), False)
            network.zero_grad()
            (loss(network(image), targets) * len(image)).backward()
            for name, parameter in network.named_parameters():
                if parameter.grad is not None:
                    counted = client.ownership.num_samples[name] / count  # the site's total loss, as in training
                    total[name] = total.get(name, 0.0) + counted * parameter.grad.double()
        network.train()
    for name in total:
        total[name] = total[name] + prior * (mean[name] - start[name]).double()
    return float(torch.stack([value.square().sum() for value in total.values()]).sum().sqrt() / num_images)


def draw(norms: dict[str, list[list[float]]], path: Path) -> None:
    """Draws one curve per method and seed."""
    figure = new_figure(6, 4)
    axes = figure.subplots()
    for index, (method, runs) in enumerate(norms.items()):
        for number, each in enumerate(runs):
            axes.plot(range(len(each)), each, color=color_of(index), label=None if number else method)
    axes.set_yscale("log")
    axes.set_xlabel("round")
    axes.set_title("Norm of the pooled gradient at the global mean", fontsize=10)
    axes.legend(fontsize=8, frameon=False)
    save_figure(figure, path)


if __name__ == "__main__":
    main()
