"""The convolutional block of the pyramid and the dense decoders."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .group_declaration import Declaration
from .permutation_groups import Axis

GROUPS = 8
"""Number of groups of the group norm; the width must be a multiple of it."""


class ConvNormAct(nn.Module):
    """Depthwise 3 x 3 and pointwise 1 x 1 convolution, group norm and GELU; the shape (B, D, H, W) is preserved.

    Group norm is used because batch statistics would differ between the clients of a federation.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.pointwise = nn.Conv2d(width, width, 1, bias=False)
        self.norm = nn.GroupNorm(GROUPS, width)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, D, H, W) to (B, D, H, W)."""
        return F.gelu(self.norm(self.pointwise(self.depthwise(x))))

    def permutable(self, declare: Declaration, entering: Axis) -> Axis:
        """Declares the output channels as a new group, in blocks of the norm's groups."""
        width = self.norm.num_channels
        leaving = declare.group("channels", width, blocks=[width // GROUPS])
        declare.depthwise("depthwise", entering)
        declare.layer("pointwise", entering, leaving)
        declare.norm("norm", leaving)
        return leaving
