"""Lightweight feature pyramid that fuses the feature maps of an encoder from coarse to fine.

Based on Lin et al., CVPR 2017, with depthwise-separable smoothing convolutions and group norm, which needs no running
statistics in a federation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from mtmedformer_monai.layers.conv_block import GROUPS, ConvNormAct
from mtmedformer_monai.layers.group_declaration import Declaration
from mtmedformer_monai.layers.permutation_groups import Axis


class FeaturePyramid(nn.Module):
    """Projects feature maps to a common width D and adds the coarser maps to each finer one.

    Args:
        channels: channels of the encoder's maps, finest first.
        width: width D, a multiple of 8.
        levels: indices of the maps that decoders use; all by default. Other levels get no parameters, because
            distributed training expects a gradient of every parameter.

    Raises:
        ValueError: if the width is not a multiple of 8, or a level does not exist.
    """

    def __init__(self, channels: Sequence[int], width: int, levels: Iterable[int] | None = None) -> None:
        super().__init__()
        chosen = set(range(len(channels)) if levels is None else levels)
        if width % GROUPS:
            raise ValueError(f"width expects a multiple of {GROUPS} (the norm's groups), got {width}.")
        if chosen - set(range(len(channels))):
            raise ValueError(f"levels expects indices in 0..{len(channels) - 1}, got {sorted(chosen)}.")
        self.finest = min(chosen, default=len(channels))
        self.laterals = nn.ModuleList(
            nn.Conv2d(count, width, 1) if level >= self.finest else nn.Identity()
            for level, count in enumerate(channels)
        )
        self.smooths = nn.ModuleList(
            ConvNormAct(width) if level in chosen else nn.Identity() for level in range(len(channels))
        )

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Computes pyramid maps (B, D, H/s, W/s), finest first, from encoder maps, finest first.

        Maps finer than all `levels` are returned unchanged.
        """
        maps: list[Tensor] = []
        for level, lateral in enumerate(self.laterals):
            maps.append(lateral(features[level]))
        for level in range(len(maps) - 2, self.finest - 1, -1):
            coarser = F.interpolate(maps[level + 1], size=maps[level].shape[2:], mode="nearest")
            maps[level] = maps[level] + coarser
        for level, smooth in enumerate(self.smooths):
            maps[level] = smooth(maps[level])
        return maps

    def permutable(self, declare: Declaration, features: list[Axis]) -> list[Axis]:
        """Declares one group for the channels in which maps are added, and one for each smoothed map.

        Args:
            declare: declaration of this module.
            features: channels of the encoder's maps, finest first.

        Returns:
            Channels of the pyramid's maps, finest first.
        """
        maps = list(features)
        coarsest = self.laterals[-1]
        if isinstance(coarsest, nn.Conv2d):
            stream = declare.group("stream", coarsest.out_channels)
            for level in range(self.finest, len(maps)):
                declare.layer(f"laterals.{level}", features[level], stream)
                maps[level] = stream
        for level, smooth in enumerate(self.smooths):
            if isinstance(smooth, ConvNormAct):
                maps[level] = declare.child(f"smooths.{level}", maps[level])
        return maps
