"""Gaussians over weights, in natural parameters.

A Gaussian with mean m and precision P is stored as its precision-weighted mean `P m` and its precision: multiplying
densities adds these numbers, dividing subtracts them (Bishop, Pattern Recognition and Machine Learning, 2006, section
2.3). A client's factor need not be a density: its precision may be zero, as long as the product's is positive.

Precision is diagonal, of the mean's shape (D,), or a full matrix (D, D). Functions on tensors alone; no networks.
"""

# D weights of one tensor

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Gaussian(NamedTuple):
    """Natural parameters.

    Attributes:
        precision_mean: precision times mean, the first natural parameter, of the weights' shape.
        precision: of the weights' shape (diagonal), or (D, D) for weights (D,).
    """

    precision_mean: Tensor
    precision: Tensor


def from_moments(mean: Tensor, precision: Tensor) -> Gaussian:
    """The Gaussian of a mean and a precision.

    Example:
        >>> from_moments(torch.tensor([2.0]), torch.tensor([3.0])).precision_mean
        tensor([6.])
    """
    return Gaussian(precision @ mean if _is_full(mean, precision) else precision * mean, precision)


def identity(like: Tensor) -> Gaussian:
    """The factor that changes nothing: no precision."""
    return Gaussian(torch.zeros_like(like), torch.zeros_like(like))


def product(*factors: Gaussian) -> Gaussian:
    """All factors' product, not normalised."""
    return Gaussian(
        torch.stack([factor.precision_mean for factor in factors]).sum(dim=0),
        torch.stack([factor.precision for factor in factors]).sum(dim=0),
    )


def quotient(whole: Gaussian, part: Gaussian) -> Gaussian:
    """The product without one of its factors, such as the change from an old factor to a new one."""
    return Gaussian(whole.precision_mean - part.precision_mean, whole.precision - part.precision)


def mean_of(gaussian: Gaussian) -> Tensor:
    """The mean.

    Raises:
        ValueError: the precision is not positive; `guard` mends a diagonal one.
    """
    precision_mean, precision = gaussian
    if _is_full(precision_mean, precision):
        factor, info = torch.linalg.cholesky_ex(precision)
        if int(info) != 0:
            raise ValueError("a full precision expects a positive definite matrix; count the prior in.")
        return torch.cholesky_solve(precision_mean[:, None], factor)[:, 0]
    if bool((precision <= 0).any()):
        raise ValueError(
            f"a mean expects precision above 0, got {float(precision.min()):g}; count the prior in, or guard it."
        )
    return precision_mean / precision


def guard(gaussian: Gaussian, floor: Tensor | float, fallback: Tensor) -> Gaussian:
    """Replaces weights whose diagonal precision fell below a floor by the floor around a mean that is known to be sane.

    Noise, rounding or a client that overstates its precision can make a quotient negative.

    Args:
        gaussian: diagonal.
        floor: least precision, above 0; usually the prior's.
        fallback: mean for the weights that are replaced.
    """
    least = torch.as_tensor(floor, dtype=gaussian.precision.dtype).expand_as(gaussian.precision)
    bad = ~(gaussian.precision >= least)  # NaN is bad too
    return Gaussian(
        torch.where(bad, least * fallback, gaussian.precision_mean), torch.where(bad, least, gaussian.precision)
    )


def _is_full(mean: Tensor, precision: Tensor) -> bool:
    """Tells a matrix over weights (D,) from a diagonal."""
    return precision.ndim == mean.ndim + 1
