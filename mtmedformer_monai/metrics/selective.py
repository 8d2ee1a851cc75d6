"""Selective prediction: how the error falls when the least confident images are handed to a person.

Axes: N images, B batch, C structures, H rows, W columns, K classes.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .gather import gather_rows

Floats = NDArray[np.float64]


def risk_coverage(confidence: Floats, risk: Floats) -> tuple[Floats, Floats]:
    """The risk-coverage curve (Geifman and El-Yaniv, NeurIPS 2017).

    Images of equal confidence can't be told apart: each of them stands for their mean risk, whatever their order.

    Args:
        confidence: (N,), higher is surer.
        risk: (N,), such as 1 for an error and 0 for none.

    Returns:
        Coverage (N,) from 1 / N to 1, and the mean risk (N,) of the images that are kept.

    Example:
        >>> coverage, kept = risk_coverage(np.array([0.9, 0.6]), np.array([0.0, 1.0]))
        >>> coverage.tolist(), kept.tolist()
        ([0.5, 1.0], [0.0, 0.5])
    """
    _, level = np.unique(-confidence, return_inverse=True)
    of_level = np.bincount(level, weights=risk) / np.maximum(np.bincount(level), 1)
    count = np.arange(1, len(risk) + 1)
    return count / max(len(risk), 1), np.cumsum(of_level[np.sort(level)]) / count


def area_under_risk_coverage(confidence: Floats, risk: Floats) -> float:
    """AURC: the mean of the curve over its N coverages (Geifman et al., ICLR 2019); NaN for N = 0."""
    return float(risk_coverage(confidence, risk)[1].mean()) if len(risk) else float("nan")


class SelectiveMetric:
    """AURC beside what the best and a blind order of the images would reach.

    - `risk`: mean risk at full coverage, which a blind order keeps at every coverage.
    - `aurc`: area under the risk-coverage curve; lower is better.
    - `aurc_excess`: `aurc` minus that of the best order, by the risk itself (E-AURC, Geifman et al., ICLR 2019): it
      judges the confidence apart from the predictions.
    - `risk_at_80`: mean risk of the most confident 80 per cent, rounded up to whole images.
    - `cases`: images.
    """

    def __init__(self) -> None:
        self._rows: list[Tensor] = []

    def reset(self) -> None:
        """Forgets everything seen."""
        self._rows = []

    def update(self, confidence: Tensor, risk: Tensor) -> None:
        """Adds one batch.

        Args:
            confidence: (B, ...), higher is surer.
            risk: the same; NaN is not annotated.

        Raises:
            ValueError: two shapes, or a confidence of NaN.
        """
        if confidence.shape != risk.shape or bool(confidence.isnan().any()):
            raise ValueError(
                f"confidence and risk expect one shape and no confidence of NaN, got {tuple(confidence.shape)} and "
                f"{tuple(risk.shape)}; give one number an image (and structure)."
            )
        rows = torch.stack([confidence.detach().flatten(), risk.detach().flatten()], dim=1).double().cpu()
        self._rows.append(rows[~rows[:, 1].isnan()])

    def compute(self) -> dict[str, float]:
        """Returns the figures; NaN where no image was annotated."""
        confidence, risk = gather_rows(self._rows, 2).numpy().T
        if len(risk) == 0:
            return dict.fromkeys(("risk", "aurc", "aurc_excess", "risk_at_80"), float("nan")) | {"cases": 0.0}
        aurc = area_under_risk_coverage(confidence, risk)
        kept = risk_coverage(confidence, risk)[1]
        return {
            "risk": float(risk.mean()),
            "aurc": aurc,
            "aurc_excess": aurc - area_under_risk_coverage(-risk, risk),
            "risk_at_80": float(kept[int(np.ceil(0.8 * len(risk))) - 1]),
            "cases": float(len(risk)),
        }


def class_risk(probs: Tensor, target: Tensor) -> Tensor:
    """1 where the likeliest class is wrong, else 0: (B, K) and class index (B,) to (B,), NaN where not annotated."""
    return torch.where(target.isnan(), target, (probs.argmax(dim=1) != target).to(target.dtype))


def class_confidence(probs: Tensor) -> Tensor:
    """Probability of the likeliest class: (B, K) to (B,)."""
    return probs.amax(dim=1)


def mask_risk(probs: Tensor, target: Tensor, threshold: float = 0.5) -> Tensor:
    """1 - Dice, a mask: 0 where both are empty, 1 where one is.

    Args:
        probs: (B, C, H, W).
        target: the same, 0 or 1; a channel with NaN is not annotated.
        threshold: probability from which a pixel belongs to the structure.

    Returns:
        (B, C), NaN where not annotated.
    """
    predicted, true = probs >= threshold, target > 0.5
    risk = 1.0 - _ratio(predicted.to(probs.dtype), true.to(probs.dtype), empty=1.0)
    return torch.where(target.isnan().any(dim=3).any(dim=2), torch.nan, risk)


def mask_confidence(probs: Tensor, threshold: float = 0.5) -> Tensor:
    """The Dice that the probabilities themselves expect of their mask: (B, C, H, W) to (B, C).

    The ratio of expectations in place of the expected ratio; of an empty mask, the probability that no pixel was missed
    if all stand or fall with the likeliest one.
    """
    mask = (probs >= threshold).to(probs.dtype)
    nothing = 1.0 - probs.amax(dim=(2, 3))
    return torch.where(mask.any(dim=3).any(dim=2), _ratio(mask, probs, empty=1.0), nothing)


def _ratio(one: Tensor, other: Tensor, empty: float) -> Tensor:
    """Dice of soft masks (B, C, H, W): (B, C); `empty` where both are."""
    total = (one + other).sum(dim=(2, 3))
    dice = 2.0 * (one * other).sum(dim=(2, 3)) / total.clamp(min=1e-12)
    return torch.where(total > 0, dice, torch.full_like(dice, empty))
