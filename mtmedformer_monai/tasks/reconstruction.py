"""Masked image modeling: self-supervised reconstruction of masked pixels from their surroundings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mtmedformer_monai.metrics.reconstruction import ReconstructionMetric

from .base import Task, TaskMetric
from .partial import fill_missing
from .segmentation import SegmentationDecoder


class ReconstructionTask(Task):
    """Masked image modeling (He et al., CVPR 2022) as one of several tasks.

    Masked pixels remain part of the input, as a hierarchical encoder requires (SimMIM; Xie et al., CVPR 2022).
    `HidePatchesd` masks patches of the image and stores their pixels as the target of the task. The loss is the mean
    absolute error over masked pixels. Trained alone, the task pretrains encoder and pyramid; trained together with
    other tasks, it acts as a regularizer.

    Args:
        name: task name.
        weight: fixed weight of the loss.
    """

    primary_metric = "psnr"
    self_supervised = True
    pyramid_levels = (0,)

    def __init__(self, name: str = "reconstruction", weight: float = 1.0) -> None:
        super().__init__(name, weight)

    def make_decoder(self, channels: Sequence[int], strides: Sequence[int], width: int) -> nn.Module:
        """Builds a `SegmentationDecoder` with one channel."""
        return SegmentationDecoder(width, 1)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Returns the mean absolute error of masked pixels.

        Args:
            output: (B, 1, H, W), offset by 0.5 from the gray level.
            target: (B, 1, H, W) in [0, 1], NaN where a pixel is not masked.

        Returns:
            Scalar; exactly 0 if no pixel is masked.
        """
        target, hidden = fill_missing(target.float())
        error = (output.float() + 0.5 - target).abs()
        return torch.where(hidden, error, torch.zeros_like(error)).sum() / hidden.sum().clamp(min=1)

    def activate(self, output: Tensor) -> Tensor:
        """Converts an output to gray levels in [0, 1]."""
        return (output.float() + 0.5).clamp(0.0, 1.0)

    def make_metric(self) -> TaskMetric:
        """Builds the metric: mean absolute error and PSNR."""
        return ReconstructionMetric()

    def encode_target(self, item: Mapping[str, Any], image_size: tuple[int, int]) -> Tensor:
        """Returns NaN (1, H, W), because no pixel is masked yet."""
        return torch.full((1, *image_size), torch.nan)

    def describe(self, output: Tensor) -> dict[str, Any]:
        """Returns {}, because the task has no findings."""
        return {}

    def complete_image(self, image: Tensor, output: Tensor, target: Tensor) -> Tensor:
        """Returns the image with masked pixels replaced by their prediction."""
        return torch.where(target[0].isnan(), image, output[0])
