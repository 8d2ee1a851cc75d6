"""The prior's means, learned in the first rounds: means of groups, shrunk towards a mean of all groups.

Far from an optimum, groups part like independent walks from their common start, and the spread of their means says
little about how different their optima are (`variance_components.py` takes all of it for a difference). In the first
rounds, the server therefore learns where the groups' priors lie, by the parametric empirical Bayes estimate of a normal
model with unequal variances (Morris, JASA 1983; Gelman et al., Bayesian Data Analysis, 3rd edition, section 5.4):

    m_g ~ N(theta_g, V_g),    theta_g ~ N(mu, B),    r_g = B / (B + V_g), the reliability of a group's mean,
    mu = sum_g n_g m_g / sum_g n_g,    E[theta_g] = r_g m_g + (1 - r_g) mu.

The reliability is taken as the share of its loss that a group's network explains, `1 - loss / initial loss` over the
round, as the coefficient of determination is in a linear model. A group that learns keeps its weights; a group that has
learned little yet, such as one with class labels of few images, goes on from those of all. In mu, every client counts
the same (n_g is the number of a group's clients), as in a random-effects model whose clients differ by far more than
the noise of their own training (DerSimonian and Laird, Controlled Clinical Trials 1986): weights by reliability would
leave out what groups with class labels have learned, which is then lost from one round to the next. No number is set by
hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Final, NamedTuple

import torch
from torch import Tensor

from mtmedformer_monai.federated.strategy import UNKNOWN_LOSS

LEAST: Final = 0.01
"""Smallest reliability, and smallest distance from 1."""


def reliability(relative_loss: float) -> float:
    """Returns r of a group whose loss is the given share of its initial loss.

    Example:
        >>> [round(reliability(loss), 2) for loss in (0.3, 1.2, 0.0)]
        [0.7, 0.01, 0.99]
    """
    return min(max(1.0 - relative_loss, LEAST), 1.0 - LEAST)


class Standing(NamedTuple):
    """What is known of a group's mean of one tensor.

    Attributes:
        clients: n_g, how many have trained the tensor in the round.
        reliability: r_g.
    """

    clients: float
    reliability: float


def learned_prior(means: Mapping[str, Tensor], standings: Mapping[str, Standing]) -> tuple[Tensor, dict[str, Tensor]]:
    """Returns the mean of all groups, mu, and {group: its prior's mean}, of one tensor.

    Args:
        means: {group: m_g}, not empty.
        standings: by group; where it is missing, as for stock clients, that of a single client with an unknown loss.

    Example:
        >>> from torch import tensor
        >>> means = {"a": tensor([4.0]), "b": tensor([0.0])}
        >>> mu, centers = learned_prior(means, {"a": Standing(3, 0.75), "b": Standing(1, 0.25)})
        >>> mu, centers
        (tensor([3.]), {'a': tensor([3.7500]), 'b': tensor([2.2500])})
    """
    unknown = Standing(1.0, reliability(UNKNOWN_LOSS))
    known = {group: standings.get(group, unknown) for group in means}
    total = sum(each.clients for each in known.values())
    center = reduce(torch.add, [mean * (known[group].clients / total) for group, mean in means.items()])
    return center, {group: center.lerp(mean, known[group].reliability) for group, mean in means.items()}
