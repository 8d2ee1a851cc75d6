"""Networks before the first round: common initial weights, their losses, and sites that have trained alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from federation_data import Data
from federation_methods import GIVEN
from federation_training import Plan, Site, predict
from federation_worlds import World
from torch import Tensor

from mtmedformer_monai.engines.checkpointing.initial_weights import shared_weights
from mtmedformer_monai.engines.handlers.seeding import epoch_seed
from mtmedformer_monai.federated.alignment.align import aligned
from mtmedformer_monai.federated.client.loss_scales import LossScales, loss_terms, split_initial_losses
from mtmedformer_monai.federated.client.own_weights import groups_of
from mtmedformer_monai.federated.client.task_tensors import tasks_reached
from mtmedformer_monai.federated.message import Weights
from mtmedformer_monai.federated.strategies import make_strategy
from mtmedformer_monai.losses import HybridLoss
from mtmedformer_monai.networks import HierarchicalTransformer, MTMedFormer
from mtmedformer_monai.networks.hierarchical_transformer import TransformerSize
from mtmedformer_monai.tasks.base import Task

SIZE: str | TransformerSize = "tiny"
"""Size of the encoder, as in the bundles."""
LOSS_IMAGES = 64
"""Number of images per site from which the initial losses are measured."""


@dataclass(frozen=True)
class Starts:
    """Weights from which networks may start instead of the common initial ones, as `Method.start` says.

    Attributes:
        apart: {site: weights that it has trained alone} (`train_apart`).
        given: weights of a network that may have other tasks.
    """

    apart: Mapping[str, Weights] = field(default_factory=dict)
    given: Weights | None = None


def make_network(tasks: Sequence[Task], seed: int, fine_maps: bool = False) -> MTMedFormer:
    """Builds the bundles' network, or without fine maps their earlier one, without stochastic depth."""
    torch.manual_seed(seed)
    encoder = HierarchicalTransformer(SIZE, drop_path=0.0, after_stem=fine_maps)
    return MTMedFormer(encoder, tasks, detail=fine_maps)


def measure_scales(network: MTMedFormer, tasks: Sequence[Task], sites: Mapping[str, Data]) -> dict[str, float]:
    """Returns {task: initial loss} over all sites, as the package's server does; tasks without any annotation lack."""
    server = LossScales()
    for data in sites.values():
        own = [task for task in tasks if task.name in data.labels(tasks)]
        chosen = torch.linspace(0, len(data) - 1, min(LOSS_IMAGES, len(data))).round().long()  # of all joined sites
        batches = [data.take(rows) for rows in chosen.split(8)]
        pairs = [(batch.image, batch.targets) for batch in batches]
        names = [task.name for task in own]

        def outputs(image: Tensor, names: Sequence[str] = names) -> dict[str, Tensor]:
            return predict(network, image, names)

        server.add(loss_terms(HybridLoss(own), network, outputs, pairs))
    return split_initial_losses(server.broadcast())[1]


def train_apart(world: World, plan: Plan, epochs: int) -> dict[str, Weights]:
    """Trains every site alone, from initial weights of its own; the losses are scaled as at the common ones.

    Args:
        world: sites and tasks.
        plan: of the federation that follows; its rounds are not trained here.
        epochs: number of epochs of each site.

    Returns:
        {site: weights}.
    """
    scales = measure_scales(make_network(world.tasks, plan.seed, plan.fine_maps), world.tasks, world.sites)
    found = {}
    for number, (name, data) in enumerate(world.sites.items()):
        own = dataclasses.replace(plan, rounds=1, local_epochs=epochs, seed=epoch_seed(plan.seed, 0, number + 1))
        network = make_network(world.tasks, own.seed, own.fine_maps)
        rule = make_strategy("fedavg").client(groups_of(network))
        reached = tasks_reached(network, data.image[:1], [task.name for task in world.tasks if task.name in scales])
        found[name] = Site(network, world.tasks, data, rule, reached, scales, own, number).train().weights
    return found


def first_weights(
    network: MTMedFormer,
    sites: Mapping[str, Data],
    start: str,
    starts: Starts,
) -> tuple[Weights, dict[str, Weights]]:
    """Returns the server's first weights, and {site: weights} from which a site starts instead of these.

    Args:
        network: with the common initial weights.
        sites: of the federation.
        start: `federation_methods.Method.start`.
        starts: weights that exist.

    Raises:
        ValueError: a site lacks weights that it must start from, or the given ones are those of another encoder.
    """
    if start in ("common", GIVEN):
        common = {name: value.clone() for name, value in network.state_dict().items()}
        return _given_weights(common, starts.given) if start == GIVEN else common, {}
    apart = starts.apart
    missing = sorted(set(sites) - set(apart))
    if missing:
        raise ValueError(
            f"start={start} expects sites that have trained alone, got none of {missing}; use --pretrain-epochs."
        )
    first = apart[max(sites, key=lambda site: len(sites[site]))]
    own = {} if start == "largest" else {site: apart[site] for site in sites}
    groups = groups_of(network)
    if start == "own" and groups is not None:
        own = {site: aligned(first, weights, groups) for site, weights in own.items()}
    return first, own


def _given_weights(common: Weights, given: Weights | None) -> Weights:
    """Returns initial weights with those that are given in their place."""
    if given is None:
        raise ValueError(f"start={GIVEN} expects weights, got none; use --weights.")
    shared, other = shared_weights(common, given)
    lacking = [name for name in common if name.startswith("encoder.") and name not in shared]
    if lacking or other:
        raise ValueError(f"--weights expects those of the study's network, got others: {(lacking + other)[:3]}.")
    return common | shared
