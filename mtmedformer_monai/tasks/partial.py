"""Means over annotated values, which ensure that missing labels contribute exactly zero."""

from __future__ import annotations

import torch
from torch import Tensor


def annotated_mean(values: Tensor, annotated: Tensor) -> Tensor:
    """Returns the mean of `values` where `annotated`; exactly 0, but connected to the graph, if nothing is annotated.

    The gradient is exactly 0 where not annotated but is defined for every output, because distributed training expects
    a gradient of every parameter.

    Args:
        values: float, any shape, computed from outputs of `keep_annotated`.
        annotated: bool, of the same shape.

    Returns:
        Scalar with the dtype of `values`.
    """
    total = torch.where(annotated, values, torch.zeros_like(values)).sum()
    return total / annotated.sum().clamp(min=1)


def keep_annotated(output: Tensor, annotated: Tensor) -> Tensor:
    """Converts an output to float32 and sets it to 0 where not annotated.

    An overflow where not annotated therefore affects neither the loss nor its gradient.

    Args:
        output: float, any dtype and shape; may be infinite or NaN where not annotated.
        annotated: bool, broadcastable to the output's shape.
    """
    output = output.float()
    return torch.where(annotated, output, torch.zeros_like(output))


def fill_missing(target: Tensor, value: float = 0.0) -> tuple[Tensor, Tensor]:
    """Splits a target into finite values and a mask of annotated entries.

    Args:
        target: float, NaN where not annotated.
        value: replacement for NaN.

    Returns:
        The target without NaN, and a bool tensor that is true where annotated.
    """
    annotated = ~torch.isnan(target)
    return torch.where(annotated, target, torch.full_like(target, value)), annotated
