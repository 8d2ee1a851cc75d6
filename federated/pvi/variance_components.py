"""Estimates of how much clients and groups differ, per weight tensor: empirical Bayes by the method of moments.

Three variances are told apart, as in a nested random-effects analysis of variance (Searle, Casella and McCulloch,
Variance Components, 1992, chapter 3; with unequal weights: DerSimonian and Laird, Controlled Clinical Trials 1986):

    step_k = mean step of its group + client effect (variance `within`) + noise (variance `noise / H_k`),
    group mean = global mean + group effect (variance `between`),

with the precision H_k that a client reports. The noise is what a client's weights fluctuate by during the last part of
its local training: the stationary spread of stochastic gradient descent around the mode approximates the posterior
(Mandt et al., JMLR 2017; SWAG: Maddox et al., NeurIPS 2019). `noise` is therefore the temperature at which the
reported precisions hold, and both other variances are given in units of it.

Everything is computed from sums over the clients of a group (`moments`), and from the sums of the posterior.
"""

# D number of weights in a tensor, K number of clients, G number of groups

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from .hierarchy import similarity_of

NUM_MOMENTS: Final = 9

LEAST_NOISE: Final = 1e-30
"""Noise up to which iterates count as not fluctuating: its quotients might not be finite."""


@dataclass(frozen=True)
class GroupMoments:
    """What is known of the round of one group, for one tensor.

    Attributes:
        sums: (9,), sum of `moments` over the clients of the group.
        start: (D,), the weights from which they started, less the prior's mean if it is the group's own.
        weighted_step: (D,), sum over the clients of weight times step.
    """

    sums: Tensor
    start: Tensor
    weighted_step: Tensor


@dataclass(frozen=True)
class Components:
    """Estimated variances of a tensor's weights, in units of `noise`.

    Attributes:
        noise: temperature of the reported precisions.
        within: variance between the clients of a group.
        between: variance between the means of groups.
    """

    noise: float
    within: float
    between: float


def joined(one: GroupMoments, other: GroupMoments) -> GroupMoments:
    """Returns the moments of the clients of both; different starts are averaged, weighted as the steps are."""
    weights = [float(each.sums[1]) for each in (one, other)]
    share = weights[1] / max(sum(weights), 1e-30)
    start = one.start + share * (other.start - one.start)
    return GroupMoments(one.sums + other.sums, start, one.weighted_step + other.weighted_step)


def moments(
    weight: float, precision: float, noise_variance: float, squared_step: float, relative_loss: float
) -> Tensor:
    """Returns one client's terms of the sums.

    Args:
        weight: of the client in its group's mean: the precision of its message.
        precision: H_k, of its factor; both are means over the tensor's weights.
        noise_variance: mean over the weights of the variance of the iterates around their mean; 0 if it was not
            measured, as by clients with filters of updates.
        squared_step: mean over the weights of the squared step.
        relative_loss: the client's loss in the round, as a share of its initial loss.
    """
    if weight <= 0.0 or precision <= 0.0:
        return torch.zeros(NUM_MOMENTS)
    return torch.tensor(
        [1.0, weight, weight**2, weight / precision, weight**2 / precision, precision * noise_variance,
         weight * squared_step, weight * relative_loss, float(noise_variance > 0.0)]
    )  # fmt: skip


def estimate(groups: Mapping[str, GroupMoments]) -> Components:
    """Returns the variance components of one tensor.

    A variance that cannot be estimated is 0: `within` if every group has a single client, `between` if there is one
    group. Without fluctuations of the iterates (`noise_variance` 0 at all clients), differences between the clients of
    a group count as noise, and if no group has two clients, the reported precisions are taken at their word.

    Args:
        groups: {group, its tasks joined by `+`: moments of this round}; groups without messages are left out.
    """
    named = {group: each for group, each in groups.items() if float(each.sums[1]) > 0}
    active, similarity = list(named.values()), similarity_of(named)
    within_square = sum(_squares_within(each) for each in active)
    spare = sum(float(each.sums[0]) for each in active) - len(active)
    noise = noise_of(each.sums for each in active)
    noise_factor = sum(float(each.sums[3] - each.sums[4] / each.sums[1]) for each in active)
    if noise <= 0.0:
        seen = within_square / noise_factor if spare > 0 and noise_factor > 0.0 else 0.0
        return Components(1.0, 0.0, _between(active, seen if seen > LEAST_NOISE else 1.0, 0.0, similarity))
    within = 0.0
    if spare > 0:
        effect = sum(float(each.sums[1] - each.sums[2] / each.sums[1]) for each in active)
        within = max(0.0, (within_square - noise * noise_factor) / effect) / noise if effect > 0 else 0.0
    return Components(noise, within, _between(active, noise, within, similarity))


def noise_of(sums: Iterable[Tensor]) -> float:
    """Returns the mean noise of the clients that measured it; 0 if no iterates fluctuated, or not measurably.

    Args:
        sums: sums of `moments`, (9,) each.
    """
    active = [each for each in (own.tolist() for own in sums) if each[1] > 0.0]
    noise = sum(each[5] for each in active) / max(sum(each[8] for each in active), 1.0)
    return noise if math.isfinite(noise) and noise > LEAST_NOISE else 0.0


def _squares_within(group: GroupMoments) -> float:
    """Returns the weighted mean square of the steps around the group's mean step."""
    mean_square = float(group.weighted_step.double().square().mean() / group.sums[1])
    return max(0.0, float(group.sums[6]) - mean_square)


def _between(groups: list[GroupMoments], noise: float, within: float, similarity: Tensor) -> float:
    """Returns the variance between groups, in units of the noise (DerSimonian and Laird, eq. 8).

    Effects of groups that are correlated by k spread less around their mean: `sum w - w' k w / sum w`.
    """
    if len(groups) < 2:
        return 0.0
    means = [each.start.double() + each.weighted_step.double() / each.sums[1] for each in groups]
    variances = [float((each.sums[4] + within * each.sums[2]) / each.sums[1] ** 2) * noise for each in groups]
    weights = [1.0 / variance for variance in variances]
    total = sum(weights)
    center = sum(weight * mean for weight, mean in zip(weights, means, strict=True)) / total
    squares = sum(weight * float((mean - center).square().mean()) for weight, mean in zip(weights, means, strict=True))
    vector = torch.tensor(weights, dtype=torch.float64)
    spread = total - float(vector @ similarity @ vector) / total
    if spread <= 1e-9 * total:
        return 0.0
    return max(0.0, squares - (len(groups) - 1)) / spread / noise
