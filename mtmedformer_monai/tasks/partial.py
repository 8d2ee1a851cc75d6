"""Means over what is annotated: the one place that makes a missing label contribute exactly nothing."""

from __future__ import annotations

import torch
from torch import Tensor


def annotated_mean(values: Tensor, annotated: Tensor) -> Tensor:
    """Mean of `values` where `annotated`; where nothing is, an exact 0 that still reaches the graph.

    The gradient is exactly 0 where not annotated, but reaches every output: distributed training waits for one from
    every parameter.

    Args:
        values: float, any shape, computed from outputs that went through `keep_annotated`.
        annotated: bool, of the same shape.

    Returns:
        Scalar of `values`' type.
    """
    total = torch.where(annotated, values, torch.zeros_like(values)).sum()
    return total / annotated.sum().clamp(min=1)


def keep_annotated(output: Tensor, annotated: Tensor) -> Tensor:
    """Output in float32, with 0 where not annotated: an overflow there reaches neither the loss nor its gradient.

    Args:
        output: float, any type and shape; may be infinite or NaN where not annotated.
        annotated: bool, of a shape that expands to the output's.
    """
    output = output.float()
    return torch.where(annotated, output, torch.zeros_like(output))


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
