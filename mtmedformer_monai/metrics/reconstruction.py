"""Metrics of the reconstruction of masked pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from .gather import gather_rows


class ReconstructionMetric:
    """Mean absolute error and peak signal-to-noise ratio of pixels in [0, 1].

    - `mae`: mean absolute error over all masked pixels.
    - `psnr`: `-10 log10` of the mean squared error over all masked pixels, in dB; higher is better.
    - `cases`: number of images with masked pixels.
    """

    def __init__(self) -> None:
        self._rows: list[Tensor] = []

    def reset(self) -> None:
        """Resets the accumulated state."""
        self._rows = []

    def update(self, probs: Tensor, target: Tensor) -> None:
        """Adds one batch.

        Args:
            probs: float (B, 1, H, W), predicted pixels.
            target: float (B, 1, H, W), NaN where a pixel is not masked.
        """
        if probs.shape != target.shape:
            raise ValueError(
                f"probs and target expect equal shapes, got {tuple(probs.shape)} and {tuple(target.shape)}; "
                "add HidePatchesd to the preprocessing."
            )
        asked = ~torch.isnan(target)
        error = torch.where(asked, probs.detach().float() - target.nan_to_num(), 0.0).flatten(1)
        rows = torch.stack([error.abs().sum(dim=1), error.square().sum(dim=1), asked.flatten(1).sum(dim=1)], dim=1)
        self._rows.append(rows.double().cpu())

    def compute(self) -> dict[str, float]:
        """Returns the metrics; NaN if no pixel was masked."""
        rows = gather_rows(self._rows, 3)
        absolute, squared, count = rows.sum(dim=0)
        psnr = -10.0 * torch.log10(squared / count)
        return {"mae": float(absolute / count), "psnr": float(psnr), "cases": float((rows[:, 2] > 0).sum())}
