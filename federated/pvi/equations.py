"""Equations of partitioned variational inference (PVI) with Gaussian factors, for one round at a client.

PVI: Ashman et al., arXiv 2202.12275, algorithm 1; for federated learning: FedEP, Guo et al., ICLR 2023, algorithm 1. A
client trains with the cavity as its prior, which is the posterior without its own factor, and replaces its factor by a
Laplace approximation at the trained weights. The server multiplies the factors (`posterior.Accumulator`).

Symbols: posterior mean mu and precision Lambda; the client's factor with precision Lambda_k and precision-weighted mean
eta_k; trained weights m. All functions operate on the tensor of one parameter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mtmedformer_monai.federated.gaussian import Gaussian


@dataclass(frozen=True)
class PrecisionScale:
    """Maps a squared gradient to precision: `num_samples * (isotropic + curvature * squared_gradient ** power)`.

    Attributes:
        isotropic: precision that each sample adds to every weight; keeps weights with a flat loss from drifting.
        curvature: factor of the mean squared gradient, the diagonal of the empirical Fisher information.
        power: exponent of the mean squared gradient; 1 is the Laplace approximation, 0.5 the preconditioner of Adam.
    """

    isotropic: float
    curvature: float
    power: float = 1.0


def likelihood_precision(squared_gradient: Tensor, num_samples: int, scale: PrecisionScale) -> Tensor:
    """Returns the precision H of a client's approximate likelihood.

    The diagonal of the empirical Fisher information approximates the Hessian of the summed loss (Martens, JMLR 2020,
    section 11); an isotropic term is added.

    Args:
        squared_gradient: mean over samples of the squared gradient of one sample's loss; the parameter's shape.
        num_samples: number of the client's training images with a label of a task that uses the parameter.
        scale: of the precision.

    Example:
        >>> likelihood_precision(torch.tensor([0.0, 2.0]), 10, PrecisionScale(isotropic=0.1, curvature=3.0))
        tensor([ 1., 61.])
    """
    return num_samples * (scale.isotropic + scale.curvature * squared_gradient.pow(scale.power))


class Cavity(NamedTuple):
    """The posterior without one client's factor, expanded around the posterior mean.

    Its negative log density has the gradient `C theta - e`, with `C = Lambda - Lambda_k` and `e = Lambda mu - eta_k`.
    It is stored as `g + C (theta - mu)`, because the difference of the large numbers `C theta` and `e` would be lost in
    float32.

    Attributes:
        mean: mu, the posterior mean.
        precision: C.
        gradient: g = eta_k - Lambda_k mu, the gradient of the negative log density at mu.
    """

    mean: Tensor
    precision: Tensor
    gradient: Tensor


def cavity_of(mean: Tensor, precision: Tensor, own: Gaussian | None) -> Cavity:
    """Returns the cavity of a client (Ashman et al., algorithm 1, local update; Guo et al., algorithm 1).

    Args:
        mean: mu, of the posterior.
        precision: Lambda, of the posterior.
        own: the client's factor in the posterior; None if it has none yet.
    """
    if own is None:
        return Cavity(mean, precision, torch.zeros_like(mean))
    gradient = own.precision_mean.double() - own.precision.double() * mean.double()
    return Cavity(mean, (precision - own.precision).clamp(min=0.0), gradient.to(mean.dtype))


def cavity_gradient(value: Tensor, cavity: Cavity) -> Tensor:
    """Returns the gradient of the cavity's negative log density: `g + C (theta - mu)`.

    Example:
        >>> cavity_gradient(torch.tensor([3.0]), Cavity(torch.tensor([2.0]), torch.tensor([4.0]), torch.tensor([5.0])))
        tensor([9.])
    """
    return torch.addcmul(cavity.gradient, cavity.precision, value - cavity.mean)


def for_client(cavity: Cavity, within: float) -> Cavity:
    """Returns the prior of a client's own weights, which scatter around the group's mean: `N(c, 1 / C + within)`.

    Args:
        cavity: of the group's mean.
        within: variance of a client's weights around it; 0 returns the cavity itself.
    """
    if within == 0.0:
        return cavity
    factor = 1.0 + within * cavity.precision
    return Cavity(cavity.mean, cavity.precision / factor, cavity.gradient / factor)


def new_factor(
    trained: Tensor,
    cavity: Cavity,
    precision: Tensor,
    rate: float | None = None,
    damping: float = 1.0,
    within: float = 0.0,
) -> Gaussian:
    """Returns a client's factor of its group's mean after local training.

    At the trained weights m, the gradients of the client's own loss and of its prior (`for_client`, with precision C')
    cancel. Its likelihood is the quadratic of precision H with the loss's gradient at m, `eta = (C' + H) m - e'`. The
    client's weights scatter around the group's mean with the variance `within`; integrated out, they leave a factor of
    precision `H / (1 + within H)`. Simultaneous updates overshoot, so a client applies only a share of the change
    (damping: Ashman et al., section 4); the new precision takes effect immediately.

    Args:
        trained: m.
        cavity: of the group's mean.
        precision: H, of the client's likelihood.
        rate: share in (0, 1]; None uses the client's share H / (C' + H) of each weight's precision.
        damping: factor of the share, below 1 after divergence.
        within: variance of a client's weights around its group's mean; 0 if they are the same weights.
    """
    sent = sent_precision(precision, within)
    if rate is None:
        change = sent * step_of_mean(trained, cavity, precision, within)
    else:
        change = rate * _full_change(trained, cavity, precision, within)
    return Gaussian(sent * cavity.mean + cavity.gradient + damping * change, sent)


def sent_precision(precision: Tensor, within: float) -> Tensor:
    """Returns the precision of a client's factor of its group's mean: `H / (1 + within H)`."""
    return precision if within == 0.0 else precision / (1.0 + within * precision)


def step_of_mean(trained: Tensor, cavity: Cavity, precision: Tensor, within: float = 0.0) -> Tensor:
    """Returns the step that a client proposes for its group's mean, at its share of the precision.

    The group takes the mean of its clients' proposals, weighted by `sent_precision`. If the client's weights are the
    group's (`within` 0), the proposal is `m - mu`.

    Args:
        trained: m.
        cavity: of the group's mean.
        precision: H, of the client's likelihood.
        within: variance of a client's weights around its group's mean.
    """
    if within == 0.0:
        return trained - cavity.mean
    share = precision / (for_client(cavity, within).precision + precision)
    return share * _full_change(trained, cavity, precision, within) / sent_precision(precision, within)


def _full_change(trained: Tensor, cavity: Cavity, precision: Tensor, within: float) -> Tensor:
    """Returns the undamped change of a factor's precision-weighted mean, from one that leaves the posterior mean."""
    step, own = trained - cavity.mean, for_client(cavity, within)
    change = (own.gradient + (own.precision + precision) * step) / (1.0 + within * precision)
    return change - cavity.gradient
