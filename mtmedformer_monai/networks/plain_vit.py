"""An encoder of one resolution: a plain vision transformer with a simple feature pyramid.

Dosovitskiy et al., ICLR 2021, for the transformer; Li et al., ECCV 2022, section 3, for the pyramid, which is made of
the last map alone. Its blocks treat all tokens alike: position enters with the patches and nowhere else, so that the
order in which tokens are listed doesn't matter between the patches and the pyramid.

Axes: B batch, N tokens (row-major), D width, h and w of the grid of patches.
"""

from __future__ import annotations

import math

import torch
from monai.networks.blocks import MLPBlock
from monai.networks.layers import DropPath
from torch import Tensor, nn

from mtmedformer_monai.layers.group_declaration import Declaration
from mtmedformer_monai.layers.permutation_groups import FIXED, Axis

from .hierarchical_transformer import (
    SpatialReductionAttention,
    _initialize,
    to_map,
    to_tokens,
)

NUM_WAVES = 8
"""Wavelengths of the position's sines and cosines: 4, 8, ... 512 patches."""


def position_waves(height: int, width: int, like: Tensor, num_waves: int = NUM_WAVES) -> Tensor:
    """Sines and cosines of each patch's row and column: (h * w, 4 * num_waves), of `like`'s dtype and device."""
    waves = 2.0 * math.pi / 2.0 ** torch.arange(2, num_waves + 2, device=like.device)
    rows = (torch.arange(height, device=like.device)[:, None] * waves)[:, None].expand(-1, width, -1)
    columns = (torch.arange(width, device=like.device)[:, None] * waves)[None].expand(height, -1, -1)
    angles = torch.cat([rows, columns], dim=2).flatten(0, 1)
    return torch.cat([angles.sin(), angles.cos()], dim=1).to(like.dtype)


class Patches(nn.Module):
    """Patches that don't overlap, and where they are: (B, C, H, W) to (B, D, h, w), for any size."""

    def __init__(self, in_channels: int, width: int, patch: int) -> None:
        super().__init__()
        self.projection = nn.Conv2d(in_channels, width, patch, patch, bias=False)
        self.position = nn.Linear(4 * NUM_WAVES, width)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) to (B, D, h, w)."""
        patches = self.projection(image)
        height, width = patches.shape[2], patches.shape[3]
        placed = to_tokens(patches) + self.position(position_waves(height, width, patches))
        return to_map(placed, height, width)

    def permutable(self, declare: Declaration) -> Axis:
        """The tokens' channels; what they say of position is learned, so any order will do."""
        stream = declare.group("stream", self.projection.out_channels)
        declare.layer("projection", FIXED, stream)
        declare.layer("position", FIXED, stream)
        return stream


class PlainBlock(nn.Module):
    """Pre-norm attention over all tokens and an MLP for each, without any sense of place."""

    def __init__(self, width: int, heads: int, mlp_ratio: int, drop_path: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width, eps=1e-6)
        self.attention = SpatialReductionAttention(width, heads, reduction=1)
        self.mlp_norm = nn.LayerNorm(width, eps=1e-6)
        self.mlp = MLPBlock(width, width * mlp_ratio)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) to (B, N, D)."""
        x = x + self.drop_path(self.attention(self.attention_norm(x), 1, x.shape[1]))
        return x + self.drop_path(self.mlp(self.mlp_norm(x)))

    def permutable(self, declare: Declaration, stream: Axis) -> None:
        """The heads, and the MLP's hidden units."""
        declare.norm("attention_norm", stream)
        declare.child("attention", stream)
        declare.norm("mlp_norm", stream)
        hidden = declare.group("hidden", self.mlp.linear1.out_features)
        declare.layer("mlp.linear1", stream, hidden)
        declare.layer("mlp.linear2", hidden, stream)


class PlainBody(nn.Module):
    """The blocks and a closing norm: (B, D, h, w) to the same.

    Commutes with any permutation of the tokens of an image.
    """

    def __init__(self, width: int, depth: int, heads: int, mlp_ratio: int, drop_path: float) -> None:
        super().__init__()
        rates = [drop_path * index / max(depth - 1, 1) for index in range(depth)]
        self.blocks = nn.ModuleList(PlainBlock(width, heads, mlp_ratio, rate) for rate in rates)
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, patches: Tensor, num_blocks: int = -1) -> Tensor:
        """The last block's map, or that of an earlier one.

        Args:
            patches: (B, D, h, w).
            num_blocks: how many blocks to go through; -1 is all.
        """
        tokens = to_tokens(patches)
        for index, block in enumerate(self.blocks):
            if num_blocks < 0 or index < num_blocks:
                tokens = block(tokens)
        return to_map(self.norm(tokens), patches.shape[2], patches.shape[3])

    def permutable(self, declare: Declaration, stream: Axis) -> None:
        """All blocks read and write one stream."""
        for index in range(len(self.blocks)):
            declare.child(f"blocks.{index}", stream)
        declare.norm("norm", stream)


class SimplePyramid(nn.Module):
    """One map to four: twice finer by two transposed convolutions, finer by one, as it is, and coarser by maxima.

    Returns D / 4, D / 2, D and D channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.finest = nn.ConvTranspose2d(width, width // 2, 2, 2)
        self.finest_norm = nn.GroupNorm(1, width // 2)
        self.finest_again = nn.ConvTranspose2d(width // 2, width // 4, 2, 2)
        self.fine = nn.ConvTranspose2d(width, width // 2, 2, 2)
        self.coarse = nn.MaxPool2d(2)

    def forward(self, features: Tensor) -> list[Tensor]:
        """(B, D, h, w) to maps of 4 h, 2 h, h and h / 2 rows."""
        finest = self.finest_again(nn.functional.gelu(self.finest_norm(self.finest(features))))
        return [finest, self.fine(features), features, self.coarse(features)]

    def permutable(self, declare: Declaration, stream: Axis) -> list[Axis]:
        """Channels of the two finer maps are units of their own."""
        width = self.finest.in_channels
        between, finest = declare.group("between", width // 2), declare.group("finest", width // 4)
        fine = declare.group("fine", width // 2)
        declare.norm("finest_norm", between)
        for name, entering, leaving in (
            ("finest", stream, between),
            ("finest_again", between, finest),
            ("fine", stream, fine),
        ):
            declare.tensor(f"{name}.weight", entering, leaving)  # a transposed convolution lists what enters first
            declare.tensor(f"{name}.bias", leaving)
        return [finest, fine, stream, stream]


class PlainViT(nn.Module):
    """Shared encoder: (B, C, H, W), H and W multiples of 2 x `patch`, to four maps at `patch` / 4 to `patch` x 2.

    A decoder of masks or boxes reads the finer maps, which a network of classifications alone leaves without a
    gradient.

    Args:
        width: D, a multiple of `heads` and of 4.
        depth: blocks.
        heads: attention heads.
        patch: side of a patch in pixels, a multiple of 4.
        in_channels: C of the image.
        drop_path: stochastic depth of the last block; earlier ones grow towards it linearly.

    Raises:
        ValueError: a width or a patch that doesn't fit.

    Example:
        >>> maps = PlainViT(32, depth=1, heads=2)(torch.zeros(1, 1, 64, 96))
        >>> [tuple(m.shape) for m in maps]
        [(1, 8, 16, 24), (1, 16, 8, 12), (1, 32, 4, 6), (1, 32, 2, 3)]
    """

    def __init__(
        self,
        width: int = 192,
        depth: int = 8,
        heads: int = 3,
        patch: int = 16,
        in_channels: int = 1,
        drop_path: float = 0.1,
    ) -> None:
        super().__init__()
        if width % heads or width % 4:
            raise ValueError(f"width expects a multiple of heads ({heads}) and of 4, got {width}.")
        if patch < 4 or patch % 4:
            raise ValueError(f"patch expects a multiple of 4 pixels, got {patch}.")
        self.channels = (width // 4, width // 2, width, width)
        self.strides = (patch // 4, patch // 2, patch, patch * 2)
        self.patches = Patches(in_channels, width, patch)
        self.body = PlainBody(width, depth, heads, 4, drop_path)
        self.pyramid = SimplePyramid(width)
        self.apply(_initialize)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Returns the feature maps, finest first."""
        maps: list[Tensor] = self.pyramid(self.body(self.patches(x)))
        return maps

    def permutable(self, declare: Declaration) -> list[Axis]:
        """One stream from the patches to the pyramid."""
        stream = declare.child("patches")
        declare.child("body", stream)
        maps: list[Axis] = declare.child("pyramid", stream)
        return maps
