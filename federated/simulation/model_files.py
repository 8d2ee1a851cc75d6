"""Final results of a federation: the weights and their posterior, with one temperature for all sites."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mtmedformer_monai.federated.message import TensorKind, Weights, pick
from mtmedformer_monai.federated.pvi.weight_posterior import from_broadcast
from mtmedformer_monai.federated.strategies.distilled import have_parted, is_distilled
from mtmedformer_monai.io.atomic_files import save_checkpoint
from mtmedformer_monai.uncertainty.posterior_file import Provenance, save_posterior
from mtmedformer_monai.uncertainty.posterior_inferer import PosteriorInferer
from mtmedformer_monai.uncertainty.temperature import fit_temperature, validation_nll

logger = logging.getLogger("mtmedformer")

TEMPERATURES = tuple(10.0**exponent for exponent in range(-6, 1))
NUM_DRAWS = 4
"""Number of samples for fitting the temperature."""

_LONGEST_GROUP = 150
"""Bytes of a group's name in the name of a file; file systems take about 255 for all of it."""


def group_file(kind: str, group: str) -> str:
    """Returns the name of a group's file, `KIND_TASKS.pt`; if the tasks are too long for it, cut and with their hash.

    Example:
        >>> group_file("model", "lung+opacity")
        'model_lung+opacity.pt'
    """
    name = group.encode()
    if len(name) > _LONGEST_GROUP:
        start = name[:_LONGEST_GROUP].decode(errors="ignore")
        group = f"{start}-{hashlib.sha256(name).hexdigest()[:16]}"
    return f"{kind}_{group}.pt"


def write_models(broadcast: Mapping[str, Tensor], groups: Mapping[str, Weights], folder: Path) -> list[Path]:
    """Writes `model.pt` and, unless all clients are one group, `model_TASKS.pt` for each group; returns the paths.

    All are flat state dicts. Logs a warning if `model.pt` is the mean of groups that have parted.

    Args:
        broadcast: from the server.
        groups: {group: weights}, from the server.
        folder: for the files.
    """
    named: dict[str, Mapping[str, Tensor]] = {"model.pt": pick(broadcast, TensorKind.MEAN)}
    if len(groups) > 1:
        named |= {group_file("model", group): weights for group, weights in groups.items()}
        if not is_distilled(broadcast) and have_parted(list(groups.values())):
            logger.warning(
                "model.pt is the mean of %d groups of sites whose networks have parted, and usually worse than each of "
                "them at its own tasks. Use the groups' networks, %s, or train one network for all tasks with two more "
                "rounds, --setting distillation_rounds=2.",
                len(groups),
                ", ".join(name for name in named if name != "model.pt"),
            )
    paths = [folder / name for name in named]
    for path, weights in zip(paths, named.values(), strict=True):
        save_checkpoint(dict(weights), path)
    return paths


def write_posterior(
    broadcast: Mapping[str, Tensor],
    prior_precision: float,
    network: nn.Module,
    provenance: Provenance,
    likelihoods: Callable[[Path], Sequence[Sequence[float]]],
    folder: Path,
) -> Path:
    """Writes `posterior.pt`, with the temperature that maximizes the likelihood of the sites' validation images.

    Args:
        broadcast: from the server, with precisions.
        prior_precision: of the strategy.
        network: of the bundle; its weights do not matter.
        provenance: of the federation.
        likelihoods: function of the posterior's path that returns `likelihood` of every site.
        folder: for the file.

    Returns:
        The path of the file.
    """
    path = folder / "posterior.pt"
    posterior = from_broadcast(broadcast, prior_precision, network, provenance)
    save_posterior(posterior, path)
    sums = [torch.tensor(each, dtype=torch.float64) for each in likelihoods(path)]
    save_posterior(dataclasses.replace(posterior, temperature=fit_temperature(sums, TEMPERATURES)), path)
    return path


@torch.no_grad()
def likelihood(evaluator: Any, tasks: Sequence[Any], network: nn.Module, posterior: Path) -> list[float]:
    """Returns a site's summed negative log-likelihood over its validation images for each temperature.

    Args:
        evaluator: provides the images and their batches.
        tasks: of the network.
        network: with the posterior mean as its weights.
        posterior: path of the file.
    """
    network.eval()
    inferer = PosteriorInferer(posterior, tasks, NUM_DRAWS)
    inferers = {value: inferer.at(value) for value in TEMPERATURES}
    batches = (evaluator.prepare_batch(batch, evaluator.state.device, False) for batch in evaluator.data_loader)
    sums = validation_nll(lambda image, value: inferers[value](image, network), batches, tasks, TEMPERATURES)
    return [float(value) for value in sums]
