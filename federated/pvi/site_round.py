"""One site's round of posterior-site federation, as mathematics: cavity, pull, evidence, change.

Partitioned variational inference with Gaussian sites (Ashman et al., arXiv 2202.12275, algorithm 1; Guo et al., FedEP,
ICLR 2023, algorithm 1), the site's new factor by a Laplace step at the weights that it trained to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mtmedformer_monai.federated.gaussian import Gaussian

from .posterior import Factor, divide


@dataclass(frozen=True)
class EvidenceScale:
    """How a squared gradient becomes precision: `num_samples * (isotropic + curvature * squared_gradient ** power)`.

    Attributes:
        isotropic: precision a sample brings to every weight that the site trains; keeps weights with a flat loss from
            drifting.
        curvature: factor of the mean squared gradient, the diagonal of the empirical Fisher information.
        power: of the mean squared gradient; 1 is Laplace's, 0.5 the preconditioner of Adam.
    """

    isotropic: float
    curvature: float
    power: float = 1.0


def pull_loss(weights: Mapping[str, Tensor], cavity: Mapping[str, Gaussian]) -> Tensor:
    """What all others believe, as a loss beside the site's own: `theta' C theta / 2 - e' theta`.

    Args:
        weights: {weight: tensor}, as they are trained.
        cavity: the posterior without the site's factor: precision C, shift e.

    Returns:
        Scalar; its gradient is `C theta - e`. Weights that the cavity leaves out bring nothing.
    """
    terms = [
        (0.5 * cavity[name].precision * value - cavity[name].shift).mul(value).sum()
        for name, value in weights.items()
        if name in cavity
    ]
    return torch.stack(terms).sum() if terms else torch.zeros(())


def pull_gradient(value: Tensor, cavity: Gaussian) -> Tensor:
    """The gradient of `pull_loss` in one tensor: `C theta - e`."""
    return cavity.precision * value - cavity.shift


class Pull(NamedTuple):
    """The pull of all others on one tensor, around the global mean: `C (theta - mu) + g`.

    The same as `pull_gradient`, without its difference of large numbers, which float32 would round.

    Attributes:
        center: mu.
        precision: C, the cavity's.
        slope: g = eta_k - Lambda_k mu, what the site's own factor has said against.
    """

    center: Tensor
    precision: Tensor
    slope: Tensor


def pull_of(center: Tensor, precision: Tensor, own: Gaussian | None) -> Pull:
    """The pull on a site.

    Args:
        center: the posterior's mean mu.
        precision: the posterior's Lambda.
        own: the site's factor in it; None if it has said nothing.
    """
    if own is None:
        return Pull(center, precision, torch.zeros_like(center))
    slope = own.shift.double() - own.precision.double() * center.double()
    return Pull(center, (precision - own.precision).clamp(min=0.0), slope.to(center.dtype))


def pull_at(value: Tensor, pull: Pull) -> Tensor:
    """The gradient of the pull at a value."""
    return torch.addcmul(pull.slope, pull.precision, value - pull.center)


def evidence(squared_gradient: Tensor, num_samples: int, scale: EvidenceScale) -> Tensor:
    """Precision that a site's data bring.

    Args:
        squared_gradient: mean over samples of the squared gradient of a sample's loss, of the weight's shape.
        num_samples: the site's training images with a label of a task that uses the weight.
        scale: of the precision.
    """
    return num_samples * (scale.isotropic + scale.curvature * squared_gradient.pow(scale.power))


def new_factor(
    trained: Mapping[str, Tensor], precision: Mapping[str, Tensor], posterior: Mapping[str, Gaussian], own: Factor
) -> Factor:
    """The site's factor after its training: `precision H`, shift `(C + H) m - e`.

    At the trained weights m the site's own loss and the pull balance: `grad L(m) + C m - e = 0`. The factor is the
    quadratic with curvature H whose gradient at m is that of the loss, so `H m - shift = grad L(m) = e - C m`.

    Args:
        trained: {weight: m}, of the weights that the site owns.
        precision: {weight: H}.
        posterior: that the round started from.
        own: the site's factor that is in it.
    """
    cavity = divide(posterior, own)
    return {
        name: Gaussian((cavity[name].precision + precision[name]) * value - cavity[name].shift, precision[name])
        for name, value in trained.items()
    }


def change_of(new: Mapping[str, Gaussian], old: Mapping[str, Gaussian]) -> Factor:
    """What a site sends: new minus old."""
    return {
        name: Gaussian(value.shift - old[name].shift, value.precision - old[name].precision) if name in old else value
        for name, value in new.items()
    }
