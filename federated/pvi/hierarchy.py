"""The hierarchical prior: a mean per group of clients around a global mean, for one weight tensor.

A client belongs to the group of clients that train the same tasks. With the precision P and the mean c of the prior,
and a share s in [0, 1] of the prior's variance that lies between groups,

    mu ~ N(c, (1 - s) / P),    theta_g | mu ~ N(mu, s / P),

so that every group mean has the same prior N(c, 1 / P), whatever s: at s = 0 all groups share one mean (full pooling),
at s = 1 each group is a federation of its own (no pooling). This is the hierarchical normal model of Gelman et al.,
Bayesian Data Analysis, 3rd edition, section 5.4, with the evidence of a group, the product of its clients' factors,
as its data. All densities are Gaussian with diagonal precisions, so the posteriors are exact.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from mtmedformer_monai.federated.gaussian import Gaussian, product


def group_posteriors(prior: Gaussian, evidence: Mapping[str, Gaussian], share: float) -> dict[str, Gaussian]:
    """Returns the posterior of each group's mean, with the global mean integrated out.

    Args:
        prior: of every group mean, with a diagonal precision above 0.
        evidence: {group: product of its clients' factors}; precisions of 0 or more.
        share: s, the share of the prior's variance that lies between groups.

    Raises:
        ValueError: a share outside of [0, 1].

    Example:
        >>> one, zero = torch.ones(1), torch.zeros(1)
        >>> evidence = {"a": Gaussian(3 * one, one), "b": Gaussian(zero, one)}
        >>> prior = Gaussian(zero, one)
        >>> [value.precision_mean.item() for value in group_posteriors(prior, evidence, 0.0).values()]
        [3.0, 3.0]
        >>> [value.precision_mean.item() for value in group_posteriors(prior, evidence, 1.0).values()]
        [3.0, 0.0]
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"share expects a number from 0 to 1, got {share}.")
    if len(evidence) == 1 or share == 1.0:
        return {group: product(prior, value) for group, value in evidence.items()}
    if share == 0.0:
        pooled = product(prior, *evidence.values())
        return dict.fromkeys(evidence, pooled)
    between = share / prior.precision
    messages = {group: widened(value, between) for group, value in evidence.items()}
    top = Gaussian(prior.precision_mean / (1.0 - share), prior.precision / (1.0 - share))
    posteriors = {}
    for group, value in evidence.items():
        others = product(top, *(message for name, message in messages.items() if name != group))
        posteriors[group] = product(value, widened(others, between))
    return posteriors


def widened(gaussian: Gaussian, variance: torch.Tensor) -> Gaussian:
    """Returns the Gaussian convolved with another one of mean 0: its variance grows by `variance`.

    A precision of 0 stays 0.

    Example:
        >>> widened(Gaussian(torch.tensor([4.0]), torch.tensor([2.0])), torch.tensor([0.5]))
        Gaussian(precision_mean=tensor([2.]), precision=tensor([1.]))
    """
    factor = 1.0 + variance * gaussian.precision
    return Gaussian(gaussian.precision_mean / factor, gaussian.precision / factor)
