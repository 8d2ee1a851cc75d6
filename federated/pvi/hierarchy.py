"""The hierarchical prior: a mean per group of clients around a global mean, for one weight tensor.

Clients whose tasks are nested, as {lung} in {lung, opacity}, belong to one group (`homes_of`). With the precision P and
the mean c of the prior, and a share s in [0, 1] of the prior's variance that lies between groups,

    mu ~ N(c, (1 - s) / P),    theta_g | mu ~ N(mu, s / P),    corr(theta_g - mu, theta_h - mu) = k(g, h),

so that every group mean has the same prior N(c, 1 / P), whatever s: at s = 0 all groups share one mean (full pooling);
at s = 1, a group shares nothing with groups that have no task in common with it (no pooling). This is the hierarchical
normal model of Gelman et al., Bayesian Data Analysis, 3rd edition, section 5.4, with the evidence of a group, the
product of its clients' factors, as its data. The similarity k of two groups is the cosine of their sets of tasks,
`|g & h| / sqrt(|g| |h|)`: 0 if they are disjoint, and a valid correlation, as it is an inner product of unit vectors.
All densities are Gaussian, and evidence has diagonal precisions, so the posteriors are exact.
"""

# G number of groups, D number of weights in the tensor

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import torch
from torch import Tensor

from mtmedformer_monai.federated.gaussian import Gaussian, mean_of, product

LARGEST: Final = 1e13
"""Largest precision of evidence, as a multiple of the prior's, with which float64 solves the system of similar groups;
a larger one determines the mean as well."""
CHUNK = 65_536
"""Number of weights whose (G, G) matrices are inverted at once."""


def similarity_of(groups: Collection[str]) -> Tensor:
    """Returns k, the cosine similarity of the groups' sets of tasks, float64 (G, G).

    Args:
        groups: names, tasks joined by `+`.

    Example:
        >>> similarity_of(["lung", "box+lung", "finding"])[0].tolist()
        [1.0, 0.7071067811865475, 0.0]
    """
    sets = [frozenset(group.split("+")) for group in groups]
    rows = [[len(left & right) / (len(left) * len(right)) ** 0.5 for right in sets] for left in sets]
    return torch.tensor(rows, dtype=torch.float64)


def homes_of(sets: Collection[str]) -> dict[str, str]:
    """Returns {set of tasks: the group that it belongs to}, which is named by a set that is contained in no other one.

    A set that is contained in several of these belongs to the smallest one, of equal ones to the first by name.

    Args:
        sets: names, sorted tasks joined by `+`.

    Example:
        >>> homes_of(["lung", "lung+opacity", "finding"])
        {'finding': 'finding', 'lung': 'lung+opacity', 'lung+opacity': 'lung+opacity'}
    """
    tasks = {name: frozenset(name.split("+")) for name in sorted(sets)}
    widest = [name for name, each in tasks.items() if not any(each < other for other in tasks.values())]
    widest.sort(key=lambda name: (len(tasks[name]), name))
    return {name: next(wide for wide in widest if each <= tasks[wide]) for name, each in tasks.items()}


def group_posteriors(
    prior: Gaussian, evidence: Mapping[str, Gaussian], share: float, similarity: Tensor | None = None
) -> dict[str, Gaussian]:
    """Returns the posterior of each group's mean, with the global mean and the other groups integrated out.

    Args:
        prior: of every group mean, with a diagonal precision above 0, the same for all weights if groups are similar.
        evidence: {group: product of its clients' factors}; precisions of 0 or more.
        share: s, the share of the prior's variance that lies between groups.
        similarity: k, (G, G); None: the groups have no task in common.

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
    if len(evidence) == 1:
        return {group: product(prior, value) for group, value in evidence.items()}
    if share == 0.0:
        pooled = product(prior, *evidence.values())
        return dict.fromkeys(evidence, pooled)
    if similarity is not None and bool((similarity - similarity.diag().diag()).any()):
        return _similar(prior, evidence, share, similarity)
    if share == 1.0:
        return {group: product(prior, value) for group, value in evidence.items()}
    between = share / prior.precision
    messages = {group: widened(value, between) for group, value in evidence.items()}
    top = Gaussian(prior.precision_mean / (1.0 - share), prior.precision / (1.0 - share))
    posteriors = {}
    for group, value in evidence.items():
        others = product(top, *(message for name, message in messages.items() if name != group))
        posteriors[group] = product(value, widened(others, between))
    return posteriors


def _similar(
    prior: Gaussian, evidence: Mapping[str, Gaussian], share: float, similarity: Tensor
) -> dict[str, Gaussian]:
    """Returns the posteriors of correlated groups: covariance `(I + B A)^-1 B`, which needs no inverse of B.

    B is the prior covariance of the groups' means, A the diagonal precision of their evidence.
    """
    shape, center = prior.precision_mean.shape, mean_of(prior).flatten()
    covariance = ((1.0 - share) * torch.ones_like(similarity) + share * similarity) / prior.precision.max()
    constant = all(value.precision.numel() == 1 for value in evidence.values())
    precision = torch.stack(
        [(value.precision if constant else value.precision.expand(shape)).flatten() for value in evidence.values()]
    )  # (G, D), or (G, 1)
    offset = torch.stack([value.precision_mean.flatten() for value in evidence.values()]) - precision * center
    given, most = precision, LARGEST * prior.precision.max()
    if bool((given > most).any()):
        precision = given.clamp(max=most)
        offset *= (most / given).clamp(max=1.0)
    if constant or bool((precision == precision[:, :1]).all()):
        posterior = _covariances(covariance, precision[:, :1])[0]
        means, precisions = posterior @ offset, posterior.diagonal().reciprocal()[:, None]
    else:
        means, precisions = torch.empty_like(offset), torch.empty_like(offset)
        for start in range(0, offset.shape[1], CHUNK):
            part = slice(start, start + CHUNK)
            posteriors = _covariances(covariance, precision[:, part])
            means[:, part] = (posteriors @ offset[:, part].T[..., None])[..., 0].T
            precisions[:, part] = posteriors.diagonal(dim1=1, dim2=2).reciprocal().T
    means += center
    least, own = prior.precision.max(), given[:, : precisions.shape[1]]
    precisions = precisions.clamp(least + own, least + own.sum(dim=0))  # beyond it is rounding, of extreme evidence
    each_shape = shape if precisions.shape[1] > 1 else (1,) * len(shape)
    return {
        group: Gaussian((precisions[index] * means[index]).reshape(shape), precisions[index].reshape(each_shape))
        for index, group in enumerate(evidence)
    }


def _covariances(prior: Tensor, precision: Tensor) -> Tensor:
    """Returns the posterior covariances of the groups' means, (D, G, G), from the prior's (G, G) and (G, D)."""
    system = torch.eye(len(prior), dtype=precision.dtype) + prior * precision.T[:, None, :]
    return torch.linalg.solve(system, prior.expand_as(system))


def widened(gaussian: Gaussian, variance: Tensor) -> Gaussian:
    """Returns the Gaussian convolved with another one of mean 0: its variance grows by `variance`.

    A precision of 0 stays 0.

    Example:
        >>> widened(Gaussian(torch.tensor([4.0]), torch.tensor([2.0])), torch.tensor([0.5]))
        Gaussian(precision_mean=tensor([2.]), precision=tensor([1.]))
    """
    factor = 1.0 + variance * gaussian.precision
    return Gaussian(gaussian.precision_mean / factor, gaussian.precision / factor)
