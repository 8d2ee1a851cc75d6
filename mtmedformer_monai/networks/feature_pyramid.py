"""Light feature pyramid that joins an encoder's maps, coarse to fine.

Lin et al., CVPR 2017, with depthwise-separable smoothing and group norm (no batch statistics, so that a federation
has no running buffers).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from mtmedformer_monai.layers.conv_block import GROUPS, ConvNormAct
from mtmedformer_monai.layers.group_declaration import Declaration
from mtmedformer_monai.layers.permutation_groups import Axis


class FeaturePyramid(nn.Module):
    """Maps of several widths to maps of one width D, each holding what the coarser ones know.

    Args:
        channels: of the encoder's maps, finest first.
        width: D, a multiple of 8.
        levels: indices of the maps that are looked at; default all. Others get no parameters of their own, as
            distributed training waits for a gradient of every parameter.

    Raises:
        ValueError: the width is no multiple of 8, or a level is not there.
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
        """Encoder maps, finest first, to pyramid maps (B, D, H/s, W/s), finest first.

        Maps finer than any of `levels` come as they were.
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
        """The channels in which the maps are added are one group, those of each smoothed map another.

        Args:
            declare: where to write it.
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
