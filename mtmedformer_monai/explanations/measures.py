"""Measures of an explanation: whether it points at a known finding, and whether the class depends on what it marks."""

from __future__ import annotations

import torch
from torch import Tensor

from .perturbation import without_detail
from .score import Question

STEPS = 10
"""Number of steps of a deletion curve."""


def peak_inside(explanation: Tensor, outline: Tensor) -> bool:
    """Returns whether the maximum of the map lies inside an outline: the pointing game (Zhang et al., ECCV 2016).

    Args:
        explanation: float (H, W).
        outline: bool (H, W).

    Example:
        >>> peak_inside(torch.tensor([[0.1, 0.9], [0.3, 0.0]]), torch.tensor([[False, True], [False, False]]))
        True
    """
    return bool(outline.flatten()[int(explanation.flatten().argmax())])


def mass_inside(explanation: Tensor, outline: Tensor) -> float:
    """Returns the fraction of the positive part of a map inside an outline; 0 for a map without positive values.

    Args:
        explanation: float (H, W).
        outline: bool (H, W).

    Example:
        >>> mass_inside(torch.tensor([[1.0, 3.0], [-5.0, 0.0]]), torch.tensor([[False, True], [True, False]]))
        0.75
    """
    positive = explanation.clamp(min=0)
    total = float(positive.sum())
    return float(positive[outline].sum()) / total if total > 0 else 0.0


def deletion_curve(question: Question, image: Tensor, explanation: Tensor, steps: int = STEPS) -> Tensor:
    """Returns the probability of the class while pixels are removed, the highest values of the map first.

    A removed pixel takes its value from a blurred image. The area under the curve is low if the map marks what the
    class depends on (Petsiuk et al., BMVC 2018, who use a constant value).

    Args:
        question: what was explained.
        image: float (1, 1, H, W) in [0, 1].
        explanation: float (H, W).
        steps: number of steps S.

    Returns:
        float (S + 1,): probabilities with a fraction of 0, 1 / S, ..., 1 of the pixels removed.
    """
    order = explanation.flatten().argsort(descending=True, stable=True)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order))
    removed = torch.linspace(0, len(order), steps + 1).round()
    hidden = (rank[None] < removed[:, None]).reshape(-1, 1, *explanation.shape)
    with torch.no_grad():
        odds = question.score(torch.where(hidden.to(image.device), without_detail(image), image))
    return odds.sigmoid().float().cpu()
