"""A single-resolution encoder: a plain vision transformer with a simple feature pyramid.

The transformer follows Dosovitskiy et al., ICLR 2021, and the pyramid, which is computed from the last map only, Li et
al., ECCV 2022, section 3. Position is encoded only in the patch embedding, so the blocks between the patches and the
pyramid are equivariant to permutations of the tokens.

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
"""Number of wavelengths of the position encoding: 4, 8, ... 512 patches."""


def position_waves(height: int, width: int, like: Tensor, num_waves: int = NUM_WAVES) -> Tensor:
    """Returns sines and cosines of the patches' rows and columns, (h * w, 4 * num_waves), in the dtype of `like`."""
    waves = 2.0 * math.pi / 2.0 ** torch.arange(2, num_waves + 2, device=like.device)
    rows = (torch.arange(height, device=like.device)[:, None] * waves)[:, None].expand(-1, width, -1)
    columns = (torch.arange(width, device=like.device)[:, None] * waves)[None].expand(height, -1, -1)
    angles = torch.cat([rows, columns], dim=2).flatten(0, 1)
    return torch.cat([angles.sin(), angles.cos()], dim=1).to(like.dtype)


class Patches(nn.Module):
    """Embeds non-overlapping patches and their positions, (B, C, H, W) to (B, D, h, w), for any image size."""

    def __init__(self, in_channels: int, width: int, patch: int) -> None:
        super().__init__()
        self.projection = nn.Conv2d(in_channels, width, patch, patch, bias=False)
        self.position = nn.Linear(4 * NUM_WAVES, width)

    def forward(self, image: Tensor) -> Tensor:
        """Maps (B, C, H, W) to (B, D, h, w)."""
        patches = self.projection(image)
        height, width = patches.shape[2], patches.shape[3]
        placed = to_tokens(patches) + self.position(position_waves(height, width, patches))
        return to_map(placed, height, width)

    def permutable(self, declare: Declaration) -> Axis:
        """Declares the token channels; the projection of positions is learned, so they can be permuted."""
        stream = declare.group("stream", self.projection.out_channels)
        declare.layer("projection", FIXED, stream)
        declare.layer("position", FIXED, stream)
        return stream


class PlainBlock(nn.Module):
    """Pre-norm block of attention over all tokens and a token-wise MLP, without position encoding."""

    def __init__(self, width: int, heads: int, mlp_ratio: int, drop_path: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width, eps=1e-6)
        self.attention = SpatialReductionAttention(width, heads, reduction=1)
        self.mlp_norm = nn.LayerNorm(width, eps=1e-6)
        self.mlp = MLPBlock(width, width * mlp_ratio)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, N, D) to (B, N, D)."""
        x = x + self.drop_path(self.attention(self.attention_norm(x), 1, x.shape[1]))
        return x + self.drop_path(self.mlp(self.mlp_norm(x)))

    def permutable(self, declare: Declaration, stream: Axis) -> None:
        """Declares the heads and the hidden units of the MLP."""
        declare.norm("attention_norm", stream)
        declare.child("attention", stream)
        declare.norm("mlp_norm", stream)
        hidden = declare.group("hidden", self.mlp.linear1.out_features)
        declare.layer("mlp.linear1", stream, hidden)
        declare.layer("mlp.linear2", hidden, stream)


class PlainBody(nn.Module):
    """The transformer blocks and a final norm; the shape (B, D, h, w) is preserved.

    It is equivariant to permutations of the tokens of an image.
    """

    def __init__(self, width: int, depth: int, heads: int, mlp_ratio: int, drop_path: float) -> None:
        super().__init__()
        rates = [drop_path * index / max(depth - 1, 1) for index in range(depth)]
        self.blocks = nn.ModuleList(PlainBlock(width, heads, mlp_ratio, rate) for rate in rates)
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, patches: Tensor, num_blocks: int = -1) -> Tensor:
        """Returns the normalized feature map after the last or an earlier block.

        Args:
            patches: (B, D, h, w).
            num_blocks: number of blocks to apply; -1 for all.
        """
        tokens = to_tokens(patches)
        for index, block in enumerate(self.blocks):
            if num_blocks < 0 or index < num_blocks:
                tokens = block(tokens)
        return to_map(self.norm(tokens), patches.shape[2], patches.shape[3])

    def permutable(self, declare: Declaration, stream: Axis) -> None:
        """Declares all blocks with one residual stream."""
        for index in range(len(self.blocks)):
            declare.child(f"blocks.{index}", stream)
        declare.norm("norm", stream)


class SimplePyramid(nn.Module):
    """Computes four maps from one by two, one and no transposed convolutions and by max pooling.

    The maps have D / 4, D / 2, D and D channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.finest = nn.ConvTranspose2d(width, width // 2, 2, 2)
        self.finest_norm = nn.GroupNorm(1, width // 2)
        self.finest_again = nn.ConvTranspose2d(width // 2, width // 4, 2, 2)
        self.fine = nn.ConvTranspose2d(width, width // 2, 2, 2)
        self.coarse = nn.MaxPool2d(2)

    def forward(self, features: Tensor) -> list[Tensor]:
        """Maps (B, D, h, w) to maps of 4 h, 2 h, h and h / 2 rows."""
        finest = self.finest_again(nn.functional.gelu(self.finest_norm(self.finest(features))))
        return [finest, self.fine(features), features, self.coarse(features)]

    def permutable(self, declare: Declaration, stream: Axis) -> list[Axis]:
        """Declares the channels of the two finer maps as new groups."""
        width = self.finest.in_channels
        between, finest = declare.group("between", width // 2), declare.group("finest", width // 4)
        fine = declare.group("fine", width // 2)
        declare.norm("finest_norm", between)
        for name, entering, leaving in (
            ("finest", stream, between),
            ("finest_again", between, finest),
            ("fine", stream, fine),
        ):
            declare.tensor(f"{name}.weight", entering, leaving)  # input channels come first in a transposed convolution
            declare.tensor(f"{name}.bias", leaving)
        return [finest, fine, stream, stream]


class PlainViT(nn.Module):
    """Shared encoder that returns four feature maps at strides from `patch` / 4 to `patch` x 2.

    It maps (B, C, H, W), where H and W are multiples of 2 x `patch`. Only decoders of masks or boxes use the finer
    maps, so these get no gradient if all tasks are classifications.

    Args:
        width: width D, a multiple of `heads` and of 4.
        depth: number of blocks.
        heads: number of attention heads.
        patch: side of a patch in pixels, a multiple of 4.
        in_channels: number of image channels C.
        drop_path: stochastic depth rate of the last block; it increases linearly over the blocks.

    Raises:
        ValueError: if the width or the patch size is invalid.

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
        """Declares one residual stream from the patches to the pyramid."""
        stream = declare.child("patches")
        declare.child("body", stream)
        maps: list[Axis] = declare.child("pyramid", stream)
        return maps
