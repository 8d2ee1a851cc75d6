"""Metrics of selective prediction, in which the least confident images are referred to a human reader.

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
    """Returns the risk-coverage curve (Geifman and El-Yaniv, NeurIPS 2017).

    Images with equal confidence all get their mean risk, so the result does not depend on the order of the images.

    Args:
        confidence: (N,), higher is more confident.
        risk: (N,), such as 1 for an error and 0 for a correct prediction.

    Returns:
        Coverage (N,) from 1 / N to 1, and the mean risk (N,) of the retained images.

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
    """Returns AURC, the mean of the curve over its N coverages (Geifman et al., ICLR 2019); NaN for N = 0."""
    return float(risk_coverage(confidence, risk)[1].mean()) if len(risk) else float("nan")


class SelectiveMetric:
    """AURC, compared with an optimal and a random order of the images.

    - `risk`: mean risk at full coverage, which is the expected risk of a random order at every coverage.
    - `aurc`: area under the risk-coverage curve; lower is better.
    - `aurc_excess`: `aurc` minus that of the optimal order, by risk (E-AURC, Geifman et al., ICLR 2019); it evaluates
      the confidence independently of the predictions.
    - `risk_at_80`: mean risk of the most confident 80 percent, rounded up to whole images.
    - `cases`: number of images.
    """

    def __init__(self) -> None:
        self._rows: list[Tensor] = []

    def reset(self) -> None:
        """Resets the accumulated state."""
        self._rows = []

    def update(self, confidence: Tensor, risk: Tensor) -> None:
        """Adds one batch.

        Args:
            confidence: (B, ...), higher is more confident.
            risk: tensor of the same shape; NaN where not annotated.

        Raises:
            ValueError: if the shapes differ or a confidence is NaN.
        """
        if confidence.shape != risk.shape or bool(confidence.isnan().any()):
            raise ValueError(
                f"confidence and risk expect equal shapes and no confidence of NaN, got {tuple(confidence.shape)} and "
                f"{tuple(risk.shape)}; pass one number per image (and structure)."
            )
        rows = torch.stack([confidence.detach().flatten(), risk.detach().flatten()], dim=1).double().cpu()
        self._rows.append(rows[~rows[:, 1].isnan()])

    def compute(self) -> dict[str, float]:
        """Returns the metrics; NaN if no image is annotated."""
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
    """Returns 1 where the most probable class is wrong, else 0.

    Args:
        probs: (B, K).
        target: (B,) class index.

    Returns:
        (B,), NaN where not annotated.
    """
    return torch.where(target.isnan(), target, (probs.argmax(dim=1) != target).to(target.dtype))


def class_confidence(probs: Tensor) -> Tensor:
    """Returns the probability of the most probable class, (B, K) to (B,)."""
    return probs.amax(dim=1)


def mask_risk(probs: Tensor, target: Tensor, threshold: float = 0.5) -> Tensor:
    """Returns 1 - Dice per mask: 0 if both masks are empty, 1 if only one is.

    Args:
        probs: (B, C, H, W).
        target: (B, C, H, W) of 0 and 1; a channel with NaN is not annotated.
        threshold: minimum probability of a pixel of the structure.

    Returns:
        (B, C), NaN where not annotated.
    """
    predicted, true = probs >= threshold, target > 0.5
    risk = 1.0 - _ratio(predicted.to(probs.dtype), true.to(probs.dtype), empty=1.0)
    return torch.where(target.isnan().any(dim=3).any(dim=2), torch.nan, risk)


def mask_confidence(probs: Tensor, threshold: float = 0.5) -> Tensor:
    """Returns the expected Dice of the predicted mask under its own probabilities, (B, C, H, W) to (B, C).

    The expected ratio is approximated by the ratio of expectations. For an empty mask, the result is the probability
    that the most probable pixel is background.
    """
    mask = (probs >= threshold).to(probs.dtype)
    nothing = 1.0 - probs.amax(dim=(2, 3))
    return torch.where(mask.any(dim=3).any(dim=2), _ratio(mask, probs, empty=1.0), nothing)


def _ratio(one: Tensor, other: Tensor, empty: float) -> Tensor:
    """Returns the Dice of soft masks (B, C, H, W) as (B, C), and `empty` where both masks are empty."""
    total = (one + other).sum(dim=(2, 3))
    dice = 2.0 * (one * other).sum(dim=(2, 3)) / total.clamp(min=1e-12)
    return torch.where(total > 0, dice, torch.full_like(dice, empty))
