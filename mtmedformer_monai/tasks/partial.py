"""Means over what is annotated: the one place that makes a missing label contribute exactly nothing."""

from __future__ import annotations

import torch
from torch import Tensor


def annotated_mean(values: Tensor, annotated: Tensor, anchor: Tensor) -> Tensor:
    """Mean of `values` where `annotated`; where nothing is, an exact 0 that still reaches the graph.

    Args:
        values: float, any shape; entries that are not annotated may hold anything finite.
        annotated: bool, of the same shape.
        anchor: the network's output, so that the result has a gradient (of zero) with respect to it: distributed
            training waits for one from every parameter.

    Returns:
        Scalar of `values`' type.
    """
    count = annotated.sum()
    total = torch.where(annotated, values, torch.zeros_like(values)).sum()
    return total / count.clamp(min=1) + anchor.float().sum() * 0.0


def fill_missing(target: Tensor, value: float = 0.0) -> tuple[Tensor, Tensor]:
    """Splits a target into finite numbers and where it is annotated.

    Args:
        target: float, NaN where not annotated.
        value: stands in for NaN.

    Returns:
        The target without NaN, and a bool tensor, true where annotated.
    """
    annotated = ~torch.isnan(target)
    return torch.where(annotated, target, torch.full_like(target, value)), annotated
