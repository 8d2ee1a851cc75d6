"""Weights that a site infers with for itself.

What the strategy keeps at the site (norms, heads) is personal already. Beyond that a site may let its own factor
count more than in the global posterior, whose factor of the site is in it once: the Gaussian product with the site's
factor raised to the power 1 + w has the mean `(Lambda mu + w eta_k) / (Lambda + w Lambda_k)`. At w = 0 it is the global
mean; as w grows it goes to what the site's own images say, weight by weight as far as they say anything.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor

from mtmedformer_monai.federated.strategy import ClientRule, TensorKind, Weights, pick


def mix(
    mean: Mapping[str, Tensor],
    precision: Mapping[str, Tensor],
    own_precision_mean: Mapping[str, Tensor],
    own_precision: Mapping[str, Tensor],
    share: float,
) -> Weights:
    """Means of the global posterior times a power of the site's own factor.

    Args:
        mean: {weight: mu}, of the global posterior.
        precision: {weight: Lambda}; a weight that is left out stays at its mean.
        own_precision_mean: {weight: eta_k}; left out where the site says nothing.
        own_precision: {weight: Lambda_k}.
        share: w, 0 or more.

    Raises:
        ValueError: a share below 0.

    Example:
        >>> one, two, four = (torch.tensor([value]) for value in (1.0, 2.0, 4.0))
        >>> mix({"w": one}, {"w": two}, {"w": four}, {"w": one}, share=2.0)
        {'w': tensor([2.5000])}
    """
    if share < 0:
        raise ValueError(f"own_share expects 0 or more, got {share}.")
    mixed = dict(mean)
    for name in own_precision_mean:
        if name in precision and share > 0:
            total = precision[name].double() + share * own_precision[name].double()
            value = (precision[name].double() * mean[name].double() + share * own_precision_mean[name].double()) / total
            mixed[name] = torch.where(total > 0, value, mean[name].double()).to(mean[name].dtype)
    return mixed


def personal_weights(rule: ClientRule, broadcast: Mapping[str, Tensor], share: float) -> Weights:
    """What a site infers with: the weights that its rule would train from, mixed with its own factor.

    Args:
        rule: of the site; it stays as it is.
        broadcast: of the server.
        share: of the site's own factor; without any, or with a strategy that has no posterior, what the rule keeps
            is all that is personal.
    """
    copied = copy.deepcopy(rule)
    weights = copied.receive(broadcast)
    own = copied.own_factor()
    return mix(
        weights,
        pick(broadcast, TensorKind.PRECISION),
        pick(own, TensorKind.PRECISION_MEAN),
        pick(own, TensorKind.PRECISION),
        share,
    )
