"""Negative log-likelihoods, summed over annotated images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .partial import fill_missing


def bernoulli_nll(logits: Tensor, target: Tensor) -> Tensor:
    """Returns the Bernoulli NLL, summed over images and channels and averaged over pixels.

    Args:
        logits: (B, C, ...).
        target: (B, C, ...) of 0, 1 or NaN.

    Returns:
        float64 scalar on the CPU.
    """
    target, annotated = fill_missing(target)
    losses = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    losses = torch.where(annotated, losses, 0.0).reshape(*losses.shape[:2], -1)
    count = annotated.reshape(*annotated.shape[:2], -1).sum(dim=2).clamp(min=1)
    return (losses.double().sum(dim=2) / count).sum().cpu()


def categorical_nll(probs: Tensor, target: Tensor) -> Tensor:
    """Returns the categorical NLL, summed over images with a label.

    Args:
        probs: (B, K).
        target: (B,) class index, or NaN.

    Returns:
        float64 scalar on the CPU.
    """
    target, annotated = fill_missing(target)
    chosen = probs.gather(1, target.long()[:, None])[:, 0].clamp(min=torch.finfo(torch.float32).tiny)
    return torch.where(annotated, -chosen.double().log(), 0.0).sum().cpu()
