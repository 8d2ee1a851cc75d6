"""Gaussians over weights, in natural parameters.

A Gaussian with mean m and precision P is held as its shift `P m` and its precision: multiplying densities adds these
numbers, dividing subtracts them (Bishop, Pattern Recognition and Machine Learning, 2006, section 2.3). What a site
knows is a factor, which need not be a density: its precision may be zero, as long as the product's is positive.

Precision is diagonal, of the shift's shape (D,), or a full matrix (D, D). Functions on tensors alone; no networks.
"""

# D weights of one tensor

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Gaussian(NamedTuple):
    """Natural parameters.

    Attributes:
        shift: precision times mean, of the weights' shape.
        precision: of the weights' shape (diagonal), or (D, D) for weights (D,).
    """

    shift: Tensor
    precision: Tensor


def from_moments(mean: Tensor, precision: Tensor) -> Gaussian:
    """The Gaussian of a mean and a precision.

    Example:
        >>> from_moments(torch.tensor([2.0]), torch.tensor([3.0])).shift
        tensor([6.])
    """
    return Gaussian(precision @ mean if _is_full(mean, precision) else precision * mean, precision)


def identity(like: Tensor) -> Gaussian:
    """The factor that changes nothing: no shift, no precision."""
    return Gaussian(torch.zeros_like(like), torch.zeros_like(like))


def product(*factors: Gaussian) -> Gaussian:
    """All factors' product, not normalised."""
    return Gaussian(
        torch.stack([factor.shift for factor in factors]).sum(dim=0),
        torch.stack([factor.precision for factor in factors]).sum(dim=0),
    )


def quotient(whole: Gaussian, part: Gaussian) -> Gaussian:
    """What is left of a product when one factor is taken out: the cavity, or what remains when a site leaves."""
    return Gaussian(whole.shift - part.shift, whole.precision - part.precision)


def damp(old: Gaussian, new: Gaussian, rate: float) -> Gaussian:
    """A step from old to new along the natural parameters.

    Args:
        old: where to start.
        new: where a rate of 1 arrives.
        rate: in (0, 1].
    """
    return Gaussian(old.shift + rate * (new.shift - old.shift), old.precision + rate * (new.precision - old.precision))


def temper(factor: Gaussian, temperature: float) -> Gaussian:
    """The factor to the power 1 / temperature: the same mean, the precision divided."""
    if temperature <= 0:
        raise ValueError(f"temperature expects a number above 0, got {temperature}.")
    return Gaussian(factor.shift / temperature, factor.precision / temperature)


def mean_of(gaussian: Gaussian) -> Tensor:
    """The mean.

    Raises:
        ValueError: the precision is not positive; `guard` mends a diagonal one.
    """
    shift, precision = gaussian
    if _is_full(shift, precision):
        factor, info = torch.linalg.cholesky_ex(precision)
        if int(info) != 0:
            raise ValueError("a full precision expects a positive definite matrix; count the prior in.")
        return torch.cholesky_solve(shift[:, None], factor)[:, 0]
    if bool((precision <= 0).any()):
        raise ValueError(
            f"a mean expects precision above 0, got {float(precision.min()):g}; count the prior in, or guard it."
        )
    return shift / precision


def guard(gaussian: Gaussian, floor: Tensor | float, fallback: Tensor) -> Gaussian:
    """Replaces weights whose diagonal precision fell below a floor by the floor around a mean that is known to be sane.

    What noise, rounding or a site that overstates its evidence can do to a quotient.

    Args:
        gaussian: diagonal.
        floor: least precision, above 0; usually the prior's.
        fallback: mean for the weights that are replaced.
    """
    least = torch.as_tensor(floor, dtype=gaussian.precision.dtype).expand_as(gaussian.precision)
    bad = ~(gaussian.precision >= least)  # NaN is bad too
    return Gaussian(torch.where(bad, least * fallback, gaussian.shift), torch.where(bad, least, gaussian.precision))


def _is_full(mean: Tensor, precision: Tensor) -> bool:
    """Tells a matrix over weights (D,) from a diagonal."""
    return precision.ndim == mean.ndim + 1
