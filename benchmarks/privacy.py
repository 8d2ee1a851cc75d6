"""What a site's update reveals: membership inference and gradient inversion, with and without noise.

    python benchmarks/privacy.py --output FOLDER          # both parts, about 10 CPU minutes on one core
    python benchmarks/privacy.py --output FOLDER --part membership

The site is the chest bundle's federated client on a generated cohort, at 32 x 32 pixels, with lung masks and findings,
and a small network. Membership: clients have each trained on a random half of the images, and the attacker sees one
client's update. Inversion: the attacker sees the gradient of one image, or the update of a round on two images, and
knows their labels and masks. Noise is that of `federated/client/update_filters.py`, with the median norm of the updates
as clipping norm, and epsilon is that of one message. Prints tables, and writes results and inversion.png.
"""

from __future__ import annotations

import argparse
import json
import logging
import warnings
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from privacy_attacks import gradients, invert, likelihood_ratios, mean_of, roc, similarity
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from mtmedformer_monai.data.synthetic.cohorts import make_cohort
from mtmedformer_monai.federated.aggregator import Aggregator
from mtmedformer_monai.federated.client.bayesian_monai_algo import BayesianMonaiAlgo
from mtmedformer_monai.federated.client.privacy_loss import epsilon
from mtmedformer_monai.federated.client.update_filters import GaussianMechanism
from mtmedformer_monai.federated.simulation.bundle_parts import initial_weights
from mtmedformer_monai.federated.strategies.fedavg import FedAvg

CHEST: Final = Path(__file__).parents[1] / "bundles/chest_xray_multitask"
SIZE: Final = 32
SMALL: Final = {
    "_target_": "mtmedformer_monai.networks.TransformerSize",
    "widths": [8, 16, 20, 32],
    "depths": [1, 1, 1, 1],
}
TASKS: Final = [
    {"_target_": "mtmedformer_monai.tasks.SegmentationTask", "name": "lung", "structures": ["lung"]},
    {"_target_": "mtmedformer_monai.tasks.ClassificationTask", "name": "finding", "classes": ["normal", "pneumonia"],
     "kind": "binary"},
]  # fmt: skip
NOISES: Final = {"none": None, "clip": 0.0, "0.001": 0.001, "0.01": 0.01, "2": 2.0}
"""Noise multipliers for the membership of an update; `clip` limits the norm alone."""
INVERSION_NOISES: Final = {"none": None, "0.01": 0.01, "0.1": 0.1}

Update = dict[str, Tensor]


def main() -> None:
    """Runs the attacks and prints their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="for data and results")
    parser.add_argument("--part", choices=("both", "membership", "inversion"), default="both")
    parser.add_argument("--models", type=int, default=6, help="clients of the membership attack (default %(default)s)")
    parser.add_argument("--epochs", type=int, default=24, help="of each of them (default %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="of the inversions (default %(default)s)")
    parser.add_argument("--rounds-noise", action="store_true", help="invert updates of rounds with noise, too")
    parser.add_argument("--steps", type=int, default=100, help="of an inversion (default %(default)s)")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    options.output.mkdir(parents=True, exist_ok=True)
    cohort = options.output / "cohort/datalist.json"
    if not cohort.is_file():
        make_cohort("chest", cohort.parent, 64, 64, seed=0)
    results: dict[str, Any] = {}
    if options.part != "inversion":
        results["membership"] = membership(cohort, options.output, options.models, options.epochs)
    if options.part != "membership":
        results["inversion"] = inversion(cohort, options.output, options.seeds, options.steps, options.rounds_noise)
    (options.output / f"results_{options.part}.json").write_text(json.dumps(results, indent=2))


def membership(cohort: Path, output: Path, num_models: int, epochs: int) -> dict[str, Any]:
    """Attacks the updates of clients, each with the other clients as reference models; prints a table."""
    items = _items(cohort)
    rng, members = np.random.default_rng(0), []
    for _ in range(num_models):
        members.append(np.isin(np.arange(len(items)), rng.permutation(len(items))[: len(items) // 2]))
    chosen = np.array(members)
    updates, start, client = [], {}, None
    for number in range(num_models):
        mine = [item for item, inside in zip(items, chosen[number], strict=True) if inside]
        client = make_client(cohort, output, mine, items, epochs, seed=number)
        start, update = train(client)
        updates.append(update)
        print(f"client {number}: norm of the update {_norm(update):.2f}", flush=True)
    clip = float(np.median([_norm(update) for update in updates]))
    at_start = item_losses(client, start)
    print(f"\nclip {clip:.2f}, {sum(value.numel() for value in start.values()):,} weights, loss at the start "
          f"{at_start.mean():.3f}\n\n| noise | epsilon | loss, members | loss, others | AUC, loss | TPR at 5 % | "
          "AUC, LiRA | TPR at 5 % |\n| --- | --- | --- | --- | --- | --- | --- | --- |")  # fmt: skip
    found: dict[str, Any] = {}
    for name, noise in NOISES.items():
        losses = np.stack([item_losses(client, _moved(start, _filtered(each, clip, noise))) for each in updates])
        rows = []
        for target in range(num_models):
            mine = chosen[target]
            plain = roc(at_start - losses[target], mine)
            lira = roc(likelihood_ratios(losses, chosen, target), mine)
            rows.append(
                {"auc": plain[0], "tpr": plain[1], "lira_auc": lira[0], "lira_tpr": lira[1],
                 "members": losses[target][mine].mean(), "others": losses[target][~mine].mean()}
            )  # fmt: skip
        found[name] = rows
        cells = [mean_of(rows, key) for key in ("members", "others", "auc", "tpr", "lira_auc", "lira_tpr")]
        print(f"| {name} | {_epsilon(noise)} | " + " | ".join(cells) + " |", flush=True)
    return found


def inversion(cohort: Path, output: Path, seeds: int, steps: int, noisy_rounds: bool = False) -> dict[str, Any]:
    """Reconstructs images from the gradient of one image, and from a round on two images; prints a table."""
    items, batch = _items(cohort), 2
    found: dict[str, list[dict[str, float]]] = {}
    pictures = []
    for seed in range(seeds):
        mine = items[batch * seed : batch * (seed + 1)]
        client = make_client(cohort, output, mine, mine, 4, seed)
        network = client.trainer.network
        start, update = train(client)
        network.load_state_dict(start)
        network.eval()
        images, targets = _batch(client)
        mean = _mean_image(cohort, output, items[batch * seeds :])
        row = [images[:1], mean]
        found.setdefault("one image: mean image", []).append(similarity(mean, images[:1], mean))
        for name, noise in INVERSION_NOISES.items():
            loss = _loss_of(client, {key: value[:1] for key, value in targets.items()})
            with sdpa_kernel(SDPBackend.MATH):
                gradient = gradients(loss(images[:1]), network)
            seen = _noisy(gradient, noise)
            image = invert(seen, network, loss, images[:1].shape, steps, 0.03, seed)
            found.setdefault(f"one image: {name}", []).append(similarity(image, images[:1], mean))
            row.append(image)
            print(seed, name, found[f"one image: {name}"][-1], flush=True)
        repeated = mean.expand(batch, -1, -1, -1)
        found.setdefault("round: mean image", []).append(similarity(repeated, images, mean))
        changes = [-update[name] for name, _ in network.named_parameters()]
        for name, noise in list(INVERSION_NOISES.items())[: 2 if noisy_rounds else 1]:
            image = invert(_noisy(changes, noise), network, _loss_of(client, targets), images.shape, steps, 0.03, seed)
            found.setdefault(f"round: {name}", []).append(similarity(image, images, mean))
            print(seed, "round", name, found[f"round: {name}"][-1], flush=True)
            row.append(torch.cat([images[:1], image[:1]], dim=-1) if noise is None else image[:1])
        pictures.append(torch.cat(row, dim=-1))
    _save(torch.cat(pictures, dim=-2), output / "inversion.png")
    print(f"\n{sum(value.numel() for value in network.parameters()):,} weights\n")
    print("| seen | epsilon | PSNR (dB) | SSIM | own |\n| --- | --- | --- | --- | --- |")
    for name, rows in found.items():
        noise = INVERSION_NOISES.get(name.partition(": ")[2])
        print(f"| {name} | {_epsilon(noise)} | " + " | ".join(mean_of(rows, key) for key in rows[0]) + " |")
    return found


def make_client(
    cohort: Path, output: Path, training: list[Any], attacked: list[Any], epochs: int, seed: int
) -> BayesianMonaiAlgo:
    """Returns a client that trains on some images; its validation list is those that the attacker asks about."""
    content = json.loads(cohort.read_text())
    listed = cohort.parent / f"datalist_{seed}.json"
    listed.write_text(json.dumps({**content, "training": training, "validation": attacked, "test": []}))
    own = {"datalist": str(listed), "output_dir": str(output / "client"), "seed": seed, "rounds": 1}
    silent = {"train#handlers_with_state": "$[@train#history]", "on_unused_label": "ignore"}
    client = BayesianMonaiAlgo(str(CHEST), FedAvg(), epochs, train_kwargs={**own, **silent, **_overrides()})
    client.initialize({"fl_client_name": f"site_{seed}"})
    return client


def train(client: BayesianMonaiAlgo) -> tuple[Update, Update]:
    """Trains one round from weights that all clients share; returns the start and the update."""
    network = client.trainer.network
    start = initial_weights(CHEST, _overrides(), 0)
    network.load_state_dict(start)
    server = Aggregator(FedAvg(), start)
    server.add_initial_losses(client.measure_losses(server.broadcast("site")), "site")
    client.train(server.broadcast("site"))
    after = network.state_dict()
    return start, {name: after[name].clone() - value for name, value in start.items()}


def item_losses(client: Any, weights: Update) -> Any:
    """Returns the loss of each image that the attacker asks about, (N,); all tasks at equal, fixed scales."""
    network, loss = client.trainer.network, client.trainer.loss_function
    network.load_state_dict(weights)
    network.eval(), loss.eval()
    loss.initial.copy_(torch.ones_like(loss.initial))
    losses = []
    with torch.no_grad():
        for batch in client.evaluator.data_loader:
            images, targets = client.trainer.prepare_batch(batch, torch.device("cpu"), False)
            outputs = network(images.as_tensor())
            for number in range(len(images)):
                one = {name: value[number : number + 1] for name, value in outputs.items()}
                losses.append(float(loss(one, {name: value[number : number + 1] for name, value in targets.items()})))
    return np.nan_to_num(np.array(losses), nan=1e6, posinf=1e6)


def _overrides() -> dict[str, Any]:
    return {"image_size": [SIZE, SIZE], "tasks": TASKS, "network_def#encoder#size": SMALL}


def _loss_of(client: Any, targets: dict[str, Tensor]) -> Any:
    network, loss = client.trainer.network, client.trainer.loss_function
    loss.eval()
    return lambda image: loss(network(image), targets)


def _batch(client: Any) -> tuple[Tensor, dict[str, Tensor]]:
    batch = next(iter(client.evaluator.data_loader))
    images, targets = client.trainer.prepare_batch(batch, torch.device("cpu"), False)
    return images.as_tensor(), {name: torch.as_tensor(value) for name, value in targets.items()}


def _mean_image(cohort: Path, output: Path, items: list[Any]) -> Tensor:
    client: Any = make_client(cohort, output, items[:4], items, 1, 1000)
    images = [
        client.trainer.prepare_batch(batch, "cpu", False)[0].as_tensor() for batch in client.evaluator.data_loader
    ]
    return torch.cat(images).mean(0, keepdim=True)


def _items(cohort: Path) -> list[Any]:
    content = json.loads(cohort.read_text())
    return [item for part in ("training", "validation", "test") for item in content[part]][:64]


def _filtered(update: Update, clip: float, noise: float | None) -> Update:
    floats = {name: value for name, value in update.items() if value.is_floating_point()}
    return update if noise is None else {**update, **GaussianMechanism(clip, noise)(floats)}


def _noisy(gradient: list[Tensor], noise: float | None) -> list[Tensor]:
    named = {str(number): value for number, value in enumerate(gradient)}
    return list(_filtered(named, _norm(named), noise).values())


def _moved(start: Update, update: Update) -> Update:
    return {name: value + update[name] for name, value in start.items()}


def _norm(update: Update) -> float:
    return float(torch.sqrt(sum((value.double().square().sum() for value in update.values()), torch.zeros(()))))


def _epsilon(noise: float | None) -> str:
    return f"{epsilon(noise, 1, 1e-5):.3g}" if noise else "-"


def _save(image: Tensor, path: Path) -> None:
    pixels = (image[0, 0].clamp(0, 1).numpy() * 255).astype(np.uint8)
    Image.fromarray(pixels).resize((pixels.shape[1] * 4, pixels.shape[0] * 4), Image.Resampling.NEAREST).save(path)


if __name__ == "__main__":
    main()
