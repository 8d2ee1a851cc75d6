"""Dice score and Hausdorff distance of masks, per structure."""

# B batch, S structures, H rows, W columns

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.metrics import compute_dice, compute_hausdorff_distance
from torch import Tensor

from .gather import gather_rows

_DICE, _HAUSDORFF, _OVERLAP, _AREA = range(4)
_NUM_METRICS = 4


class SegmentationMetric:
    """Dice, pooled Dice and 95th percentile Hausdorff distance.

    - `dice`: mean of `2 |P and T| / (|P| + |T|)` over the images with a non-empty ground-truth mask (MONAI's
      `ignore_empty=True`).
    - `dice_pooled`: the same ratio computed over the pixels of all annotated images, so that false positive pixels in
      images without the structure count.
    - `hausdorff95`: mean over images of the larger of the two directed 95th percentiles of the surface distance
      (monai.metrics.compute_hausdorff_distance), in pixels of the network input, over the images in which both masks
      are non-empty. A structure that is missed entirely affects `dice` only.
    - `cases`: number of non-empty ground-truth masks, of the structure with the fewest.

    With several structures, each metric is also reported per structure (`dice_heart`), and the plain name is the mean
    over structures.

    Args:
        structures: names of the channels.
        threshold: minimum probability of a pixel of the structure.
        hausdorff: whether to compute the Hausdorff distance, which is slow.
    """

    def __init__(self, structures: Sequence[str], threshold: float = 0.5, hausdorff: bool = True) -> None:
        self._structures = tuple(structures)
        self._threshold = threshold
        self._hausdorff = hausdorff
        self._rows: list[Tensor] = []

    def reset(self) -> None:
        """Resets the accumulated state."""
        self._rows = []

    def update(self, probs: Tensor, target: Tensor) -> None:
        """Adds one batch.

        Args:
            probs: float (B, S, H, W) in [0, 1].
            target: float (B, S, H, W) of 0 and 1; a channel of NaN is not annotated, single NaN pixels are ignored.
        """
        if probs.shape != target.shape or probs.shape[1] != len(self._structures):
            raise ValueError(
                f"probs and target expect (B, {len(self._structures)}, H, W) each, got {tuple(probs.shape)} and "
                f"{tuple(target.shape)}; the task's structures and the target's channels must agree."
            )
        missing = torch.isnan(target)
        annotated = ~missing.flatten(2).all(dim=2)
        predicted = (probs.detach().float() >= self._threshold) & ~missing
        self._rows.append(self._measure(predicted, torch.nan_to_num(target) > 0.5, annotated).flatten(1).cpu())

    def compute(self) -> dict[str, float]:
        """Returns the metrics; NaN if no image is annotated."""
        rows = gather_rows(self._rows, len(self._structures) * _NUM_METRICS)
        rows = rows.reshape(len(rows), len(self._structures), _NUM_METRICS)
        pooled = 2 * rows[..., _OVERLAP].nansum(dim=0) / rows[..., _AREA].nansum(dim=0)
        metrics = {"dice": rows[..., _DICE].nanmean(dim=0), "dice_pooled": pooled}
        if self._hausdorff:
            metrics["hausdorff95"] = rows[..., _HAUSDORFF].nanmean(dim=0)
        named = {key: value for name, values in metrics.items() for key, value in self._named(name, values).items()}
        cases = (~rows[..., _DICE].isnan()).sum(dim=0)
        return named | {"cases": float(min(cases[cases > 0].tolist(), default=0))}

    def _measure(self, predicted: Tensor, true: Tensor, annotated: Tensor) -> Tensor:
        """Returns dice, hausdorff95, overlap and area, float64 (B, S, 4); NaN where not annotated or undefined."""
        overlap = (predicted & true).sum(dim=(2, 3))
        area = predicted.sum(dim=(2, 3)) + true.sum(dim=(2, 3))
        dice = compute_dice(predicted.float(), true.float(), ignore_empty=True)
        metrics = torch.stack([dice, self._distances(predicted, true, annotated), overlap, area], dim=2).double()
        metrics[~annotated] = torch.nan
        return metrics

    def _distances(self, predicted: Tensor, true: Tensor, annotated: Tensor) -> Tensor:
        """Returns the Hausdorff 95 distance in pixels, float (B, S); NaN if not annotated or a mask is empty."""
        distances = torch.full(annotated.shape, torch.nan, device=true.device)
        if not self._hausdorff:
            return distances
        both = annotated & predicted.flatten(2).any(dim=2) & true.flatten(2).any(dim=2)
        for image, structure in both.nonzero().tolist():
            pair = (predicted[image, structure][None, None], true[image, structure][None, None])
            distance = compute_hausdorff_distance(*pair, include_background=True, percentile=95)
            distances[image, structure] = distance[0, 0]
        return distances

    def _named(self, name: str, values: Tensor) -> dict[str, float]:
        named = {name: float(values.nanmean())}
        if len(self._structures) > 1:
            named |= {f"{name}_{s}": float(v) for s, v in zip(self._structures, values, strict=True)}
        return named
