"""Telling hidden pixels from what surrounds them: what an encoder can learn from images that no one annotated."""

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
    """Masked image modeling as one task among others.

    He et al., CVPR 2022; with the hidden pixels left in the input, as a hierarchical encoder needs it: Xie et al.,
    SimMIM, CVPR 2022.

    `HidePatchesd` hides patches of the image, and leaves their pixels as the target under the task's name. The loss is
    the mean absolute error over them. Trained alone, it pretrains encoder and pyramid; trained beside other tasks, it
    regularises them.

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
        """Builds a `SegmentationDecoder` of one channel."""
        return SegmentationDecoder(width, 1)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean absolute error of hidden pixels.

        Args:
            output: (B, 1, H, W), 0 is gray level 0.5.
            target: (B, 1, H, W) in [0, 1], NaN where nothing is hidden.

        Returns:
            Scalar; exactly 0 where nothing is hidden.
        """
        target, hidden = fill_missing(target.float())
        error = (output.float() + 0.5 - target).abs()
        return torch.where(hidden, error, torch.zeros_like(error)).sum() / hidden.sum().clamp(min=1)

    def activate(self, output: Tensor) -> Tensor:
        """To gray levels in [0, 1]."""
        return (output.float() + 0.5).clamp(0.0, 1.0)

    def make_metric(self) -> TaskMetric:
        """Mean absolute error and PSNR."""
        return ReconstructionMetric()

    def encode_target(self, item: Mapping[str, Any], image_size: tuple[int, int]) -> Tensor:
        """Nothing is hidden yet: NaN (1, H, W)."""
        return torch.full((1, *image_size), torch.nan)

    def describe(self, output: Tensor) -> dict[str, Any]:
        """Nothing that a finding could be: {}."""
        return {}

    def complete_image(self, image: Tensor, output: Tensor, target: Tensor) -> Tensor:
        """Hidden pixels as the network predicts them."""
        return torch.where(target[0].isnan(), image, output[0])
