"""Segmentation of structures that may overlap and may individually lack annotations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtmedformer_monai.keys import MASKS, UNCERTAINTY
from mtmedformer_monai.layers.conv_block import ConvNormAct
from mtmedformer_monai.layers.group_declaration import Declaration
from mtmedformer_monai.layers.permutation_groups import FIXED, Axis
from mtmedformer_monai.metrics.segmentation import SegmentationMetric

from .base import Task, TaskMetric
from .likelihoods import bernoulli_nll
from .partial import annotated_mean, fill_missing, keep_annotated
from .reading import named
from .sample_average import combine_sigmoids


class SegmentationDecoder(nn.Module):
    """Computes logits (B, C, H, W) from the finest pyramid map (B, D, H/4, W/4), which includes the coarser maps.

    Args:
        width: width D of the pyramid.
        num_structures: number of structures C.
        depth: number of separable convolutions before the logits.
    """

    def __init__(self, width: int, num_structures: int, depth: int = 1) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(*[ConvNormAct(width) for _ in range(depth)])
        self.logits = nn.Conv2d(width, num_structures, 1)

    def forward(self, features: list[Tensor], pyramid: list[Tensor], size: tuple[int, int]) -> Tensor:
        """Returns logits (B, C, H, W) at `size`."""
        logits = self.logits(self.convolutions(pyramid[0]))
        return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)

    def permutable(self, declare: Declaration, features: list[Axis], pyramid: list[Axis]) -> None:
        """Declares the channels between the convolutions; structures are fixed."""
        stream = pyramid[0]
        for index in range(len(self.convolutions)):
            stream = declare.child(f"convolutions.{index}", stream)
        declare.layer("logits", stream, FIXED)


class SegmentationTask(Task):
    """Predicts masks (C, H, W), one channel per structure, which may overlap; a NaN channel is not annotated.

    The loss is the sum of Dice and binary cross-entropy, and structures are independent.

    Args:
        name: task name.
        structures: names of the C channels, the keys of a datalist item's `masks`.
        weight: fixed weight of the loss.
        batch_dice: whether to compute Dice over all pixels of the batch instead of per image. Use it for structures
            that are absent in many images, because the Dice of an empty mask is not informative.
        focal_gamma: if above 0, focal loss instead of cross-entropy (Lin et al., ICCV 2017, eq. 4, without alpha).
        threshold: minimum probability of a pixel of a structure.
        decoder_depth: number of separable convolutions in the decoder; 1 in a network with `detail`.
    """

    primary_metric = "dice"
    pyramid_levels = (0,)

    def __init__(
        self,
        name: str,
        structures: Sequence[str],
        weight: float = 1.0,
        batch_dice: bool = False,
        focal_gamma: float = 0.0,
        threshold: float = 0.5,
        decoder_depth: int = 1,
    ) -> None:
        super().__init__(name, weight)
        if not structures or len(set(structures)) != len(structures):
            raise ValueError(f"task {name!r} expects one or more structures with different names, got {structures}.")
        self.structures = list(structures)
        self.batch_dice = batch_dice
        self.focal_gamma = focal_gamma
        self.threshold = threshold
        self.decoder_depth = decoder_depth

    def make_decoder(self, channels: Sequence[int], strides: Sequence[int], width: int) -> nn.Module:
        """Builds a `SegmentationDecoder`."""
        return SegmentationDecoder(width, len(self.structures), self.decoder_depth)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Returns the sum of Dice and cross-entropy loss.

        Args:
            output: logits (B, C, H, W).
            target: (B, C, H, W) of 0, 1 or NaN.

        Returns:
            Scalar; exactly 0 if no structure of any image is annotated.
        """
        target, annotated = fill_missing(target.float())
        logits = keep_annotated(output, annotated)
        dice = dice_loss(logits, target, annotated, self.batch_dice)
        return dice + pixel_loss(logits, target, annotated, self.focal_gamma)

    def activate(self, output: Tensor) -> Tensor:
        """Converts logits to probabilities, (..., C, H, W)."""
        return output.float().sigmoid()

    def make_metric(self) -> TaskMetric:
        """Builds the metric: Dice and Hausdorff 95 distance per structure."""
        return SegmentationMetric(self.structures, threshold=self.threshold)

    def encode_target(self, item: Mapping[str, Any], image_size: tuple[int, int]) -> Tensor:
        """Stacks the item's masks to float32 (C, H, W); structures without a mask become NaN."""
        masks = item.get(MASKS) or {}
        channels = [
            torch.as_tensor(np.asarray(masks[name]), dtype=torch.float32)
            if masks.get(name) is not None
            else torch.full(image_size, torch.nan)
            for name in self.structures
        ]
        return torch.stack(channels)

    def describe(self, output: Tensor) -> dict[str, Any]:
        """Returns the fraction of the image area that each structure covers, {'area_fraction': {name: 0..1}}."""
        share = [int(mask.count_nonzero()) / mask.numel() for mask in self.masks(output)]
        return {"area_fraction": {name: round(value, 6) for name, value in zip(self.structures, share, strict=True)}}

    def masks(self, output: Tensor) -> Tensor:
        """Returns the masks of pixels whose probability is at least the threshold."""
        return output >= self.threshold

    def negative_log_likelihood(self, output: Tensor, target: Tensor) -> Tensor:
        """Returns the Bernoulli NLL, averaged over the pixels of a mask because these are not independent."""
        return bernoulli_nll(output.float(), target.float())

    def combine_samples(self, samples: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Combines samples; measures: `entropy`, `mutual_information`, `std` (B, C, H, W); `disagreement` (B, C).

        The disagreement is the mean of 1 - Dice between the mask of each sample and the combined mask.
        """
        joint, measures = combine_sigmoids(samples)
        masks, mask = self.masks(self.activate(samples)), self.masks(self.activate(joint))
        overlap = (masks & mask).sum(dim=(3, 4))
        area = masks.sum(dim=(3, 4)) + mask.sum(dim=(2, 3))
        measures["disagreement"] = torch.where(area > 0, 1.0 - 2.0 * overlap / area.clamp(min=1), 0.0).mean(dim=0)
        return joint, measures

    def describe_uncertainty(
        self, finding: dict[str, Any], output: Tensor, measures: Mapping[str, Tensor], to_source: Tensor
    ) -> dict[str, Any]:
        """Adds `disagreement` in [0, 1] for each structure."""
        return finding | {UNCERTAINTY: {"disagreement": named(self.structures, measures["disagreement"])}}


def dice_loss(logits: Tensor, target: Tensor, annotated: Tensor, batch: bool, smooth: float = 1.0) -> Tensor:
    """Returns 1 - soft Dice, averaged over structures (Milletari et al., 3DV 2016, denominator without squares).

    Args:
        logits: (B, C, H, W).
        target: (B, C, H, W) of 0 and 1.
        annotated: bool (B, C, H, W); pixels that are not annotated are ignored.
        batch: whether to sum over the images of the batch before computing the ratio.
        smooth: constant added to numerator and denominator, in pixels.

    Returns:
        Scalar.
    """
    axes = [0, 2, 3] if batch else [2, 3]
    probs = logits.sigmoid() * annotated
    overlap = (probs * target).sum(axes)
    total = probs.sum(axes) + (target * annotated).sum(axes)
    scores = 1.0 - (2.0 * overlap + smooth) / (total + smooth)
    return annotated_mean(scores, annotated.any(3).any(2).any(0) if batch else annotated.any(3).any(2))


def pixel_loss(logits: Tensor, target: Tensor, annotated: Tensor, gamma: float) -> Tensor:
    """Returns binary cross-entropy or, if `gamma` is above 0, focal loss, averaged over annotated pixels."""
    losses = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    if gamma > 0:
        losses = losses * (-torch.expm1(-losses)).clamp(min=1e-6) ** gamma  # the root's gradient at 0 is infinite
    return annotated_mean(losses, annotated)
