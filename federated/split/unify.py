"""Averaging of heads and tails over the sites that share a task, weighted by images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

from mtmedformer_monai.federated.message import Weights
from mtmedformer_monai.federated.strategies.fedavg import AveragingServer, weighted_terms
from mtmedformer_monai.federated.strategy import LocalTraining


def mean_weights(
    contributions: Iterable[tuple[Mapping[str, Tensor], Mapping[str, int]]], before: Mapping[str, Tensor]
) -> Weights:
    """Returns weighted means (McMahan et al., AISTATS 2017, algorithm 1), tensor by tensor.

    Args:
        contributions: for each site, {parameter: value} and {parameter: number of images that trained it}; a site does
            not contribute to parameters that it omits or that no image trained.
        before: previous values, returned bit for bit if no site contributes.

    Example:
        >>> import torch
        >>> sites = [({"w": torch.tensor(0.0)}, {"w": 1}), ({"w": torch.tensor(4.0)}, {"w": 3})]
        >>> mean_weights(sites, {"w": torch.tensor(9.0), "v": torch.tensor(7.0)})
        {'w': tensor(3.), 'v': tensor(7.)}
    """
    server = AveragingServer(before)
    for weights, counts in contributions:
        server.add(weighted_terms(LocalTraining(weights, {name: counts.get(name, 0) for name in weights})))
    server.close_round()
    return server.weights()
