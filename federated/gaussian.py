"""Gaussian distributions over weights, in natural parameters.

A Gaussian with mean m and precision P is stored as its precision-weighted mean `P m` and its precision P. Multiplying
densities adds these parameters, dividing subtracts them (Bishop, Pattern Recognition and Machine Learning, 2006,
section 2.3). A client's factor need not be a normalizable density: its precision may be zero, as long as the precision
of the product is positive.

The precision is either diagonal, with the shape of the mean (D,), or a full matrix (D, D). This module contains only
functions on tensors.
"""

# D number of weights in a tensor

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor


class Gaussian(NamedTuple):
    """Natural parameters of a Gaussian.

    Attributes:
        precision_mean: precision times mean, the first natural parameter; shape of the weights.
        precision: shape of the weights (diagonal), or (D, D) for weights (D,).
    """

    precision_mean: Tensor
    precision: Tensor


def from_moments(mean: Tensor, precision: Tensor) -> Gaussian:
    """Returns the Gaussian with a given mean and precision.

    Example:
        >>> from_moments(torch.tensor([2.0]), torch.tensor([3.0])).precision_mean
        tensor([6.])
    """
    return Gaussian(precision @ mean if _is_full(mean, precision) else precision * mean, precision)


def identity(like: Tensor) -> Gaussian:
    """Returns the neutral factor, whose precision is zero."""
    return Gaussian(torch.zeros_like(like), torch.zeros_like(like))


def product(*factors: Gaussian) -> Gaussian:
    """Returns the unnormalized product of the factors."""
    return Gaussian(
        reduce(torch.add, [factor.precision_mean for factor in factors]),
        reduce(torch.add, [factor.precision for factor in factors]),
    )


def quotient(whole: Gaussian, part: Gaussian) -> Gaussian:
    """Returns the product without one of its factors, such as the change from an old factor to a new one."""
    return Gaussian(whole.precision_mean - part.precision_mean, whole.precision - part.precision)


def mean_of(gaussian: Gaussian) -> Tensor:
    """Returns the mean.

    Raises:
        ValueError: the precision is not positive; `guard` corrects a diagonal precision.
    """
    precision_mean, precision = gaussian
    if _is_full(precision_mean, precision):
        factor, info = torch.linalg.cholesky_ex(precision)
        if int(info) != 0:
            raise ValueError("a full precision expects a positive definite matrix; include the prior.")
        return torch.cholesky_solve(precision_mean[:, None], factor)[:, 0]
    if bool((precision <= 0).any()):
        raise ValueError(
            f"a mean expects precision above 0, got {float(precision.min()):g}; include the prior, or call guard()."
        )
    return precision_mean / precision


def guard(gaussian: Gaussian, floor: Tensor | float, fallback: Tensor) -> Gaussian:
    """Resets weights whose diagonal precision is below a floor to that floor and a fallback mean.

    Noise, rounding or a client that overstates its precision can make a quotient negative.

    Args:
        gaussian: with a diagonal precision.
        floor: smallest allowed precision, above 0; usually the prior's.
        fallback: mean for the weights that are reset.
    """
    least = torch.as_tensor(floor, dtype=gaussian.precision.dtype).expand_as(gaussian.precision)
    bad = ~(gaussian.precision >= least)  # True for NaN
    return Gaussian(
        torch.where(bad, least * fallback, gaussian.precision_mean), torch.where(bad, least, gaussian.precision)
    )


def _is_full(mean: Tensor, precision: Tensor) -> bool:
    """Returns whether the precision is a matrix rather than a diagonal."""
    return precision.ndim == mean.ndim + 1
