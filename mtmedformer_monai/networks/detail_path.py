"""Fine maps of the image for segmentation: they carry outlines and small structures past the encoder's stride of 4.

As the skips of a U-Net (Ronneberger et al., MICCAI 2015), from plain convolutions on the image: a vision transformer
has no maps at strides 1 and 2.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from mtmedformer_monai.layers.conv_block import GROUPS, ConvNormAct
from mtmedformer_monai.layers.group_declaration import Declaration
from mtmedformer_monai.layers.permutation_groups import FIXED, Axis

WIDTHS = (16, 32)
"""Channels of the maps at strides 1 and 2."""


class DenseConv(nn.Module):
    """3 x 3 convolution, group norm and GELU.

    Args:
        entering: number of channels of the input.
        leaving: number of channels of the output, a multiple of 8.
        stride: of the convolution.
    """

    def __init__(self, entering: int, leaving: int, stride: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(entering, leaving, 3, stride, padding=1, bias=False)
        self.norm = nn.GroupNorm(GROUPS, leaving)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, H, W) to (B, D, H / stride, W / stride)."""
        return F.gelu(self.norm(self.convolution(x)))

    def permutable(self, declare: Declaration, entering: Axis) -> Axis:
        """Declares the output channels as a new group, in blocks of the norm's groups."""
        width = self.norm.num_channels
        leaving = declare.group("channels", width, blocks=[width // GROUPS])
        declare.layer("convolution", entering, leaving)
        declare.norm("norm", leaving)
        return leaving


class DetailStem(nn.Module):
    """Computes the fine maps (B, 16, H, W) and (B, 32, H/2, W/2) of an image (B, C, H, W), H and W even.

    Args:
        in_channels: number of image channels C.
    """

    def __init__(self, in_channels: int = 1) -> None:
        super().__init__()
        full, half = WIDTHS
        self.finest = DenseConv(in_channels, full)
        self.down = DenseConv(full, half, stride=2)
        self.second = DenseConv(half, half)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Returns the maps, finest first."""
        full = self.finest(image)
        return [full, self.second(self.down(full))]

    def permutable(self, declare: Declaration) -> list[Axis]:
        """Declares the channels of the maps, finest first; the image channels are fixed."""
        full: Axis = declare.child("finest", FIXED)
        down = declare.child("down", full)
        return [full, declare.child("second", down)]


class DetailDecoder(nn.Module):
    """Computes logits (B, C, H, W) from the finest pyramid map, refined by the fine maps of a `DetailStem`.

    Logits of the pyramid map alone are added to those of the fine maps, so that the encoder learns from the masks as
    directly as without fine maps.

    Args:
        width: width D of the pyramid.
        num_structures: number of structures C.
    """

    def __init__(self, width: int, num_structures: int) -> None:
        super().__init__()
        full, half = WIDTHS
        self.convolution = ConvNormAct(width)
        self.to_half, self.to_full = nn.Conv2d(width, half, 1), nn.Conv2d(half, full, 1)
        self.refine_half, self.refine_full = DenseConv(half, half), DenseConv(full, full)
        self.coarse_logits, self.logits = nn.Conv2d(width, num_structures, 1), nn.Conv2d(full, num_structures, 1)

    def forward(self, features: list[Tensor], pyramid: list[Tensor], size: tuple[int, int]) -> Tensor:
        """Returns logits (B, C, H, W) at `size`; the last two maps of `pyramid` are those of the stem."""
        full, half = pyramid[-2], pyramid[-1]
        coarse = self.convolution(pyramid[0])
        x = self.refine_half(half + _enlarge(self.to_half(coarse), half))
        x = self.refine_full(full + _enlarge(self.to_full(x), full))
        logits: Tensor = self.logits(x) + _enlarge(self.coarse_logits(coarse), full)
        return logits

    def permutable(self, declare: Declaration, features: list[Axis], pyramid: list[Axis]) -> None:
        """Declares the channels between the convolutions; sums share the channels of the stem's maps."""
        full, half = pyramid[-2], pyramid[-1]
        coarse = declare.child("convolution", pyramid[0])
        declare.layer("coarse_logits", coarse, FIXED)
        declare.layer("to_half", coarse, half)
        declare.layer("to_full", declare.child("refine_half", half), full)
        declare.layer("logits", declare.child("refine_full", full), FIXED)


def _enlarge(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=(like.shape[2], like.shape[3]), mode="bilinear", align_corners=False)
