"""The convolution that dense decoders are built from."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .group_declaration import Declaration
from .permutation_groups import Axis

GROUPS = 8
"""Groups of the norm; a decoder's width is a multiple of it."""


class ConvNormAct(nn.Module):
    """Depthwise 3 x 3, pointwise 1 x 1, group norm, GELU: (B, D, H, W) to the same.

    Group norm, as batch statistics would differ by site in a federation.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.pointwise = nn.Conv2d(width, width, 1, bias=False)
        self.norm = nn.GroupNorm(GROUPS, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, H, W) to the same."""
        return F.gelu(self.norm(self.pointwise(self.depthwise(x))))

    def permutable(self, declare: Declaration, entering: Axis) -> Axis:
        """The channels that leave are units of their own, in the norm's groups."""
        width = self.norm.num_channels
        leaving = declare.group("channels", width, blocks=[width // GROUPS])
        declare.depthwise("depthwise", entering)
        declare.layer("pointwise", entering, leaving)
        declare.norm("norm", leaving)
        return leaving
