"""The default encoder: a hierarchical vision transformer without position embeddings.

Overlapping patch embeddings, spatial-reduction attention and a depthwise convolution in the MLP, as in PVT v2
(Wang et al., Computational Visual Media 2022) and SegFormer's MiT (Xie et al., NeurIPS 2021). Position is encoded by
the zero padding of the convolutions, so any image size is supported. The sizes equal PVT v2 B0, B1 and B2, whose
ImageNet weights can be loaded with `mtmedformer_monai.networks.pretrained`.

Axes: B batch, N tokens (row-major), D width, H and W of the feature map.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from monai.networks.layers import DropPath
from torch import Tensor, nn

from mtmedformer_monai.layers.group_declaration import Declaration
from mtmedformer_monai.layers.permutation_groups import FIXED, Axis

from .detail_path import WIDTHS as STEM_WIDTHS


@dataclass(frozen=True)
class TransformerSize:
    """Widths and depths of the stages, typically four at strides 4, 8, 16 and 32."""

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    heads: tuple[int, ...] = (1, 2, 5, 8)
    reductions: tuple[int, ...] = (8, 4, 2, 1)
    mlp_ratios: tuple[int, ...] = (8, 8, 4, 4)

    def __post_init__(self) -> None:
        """Validates the size.

        Raises:
            ValueError: if tuples have different lengths, a width is not divisible by its number of heads, or a
                reduction does not divide the map of an image of the coarsest stride: attention would not see the rest.
        """
        stages = len(self.widths)
        if any(len(each) != stages for each in (self.depths, self.heads, self.reductions, self.mlp_ratios)):
            raise ValueError(f"TransformerSize expects tuples of equal length, one value per stage, got {self}.")
        if any(width % heads for width, heads in zip(self.widths, self.heads, strict=True)):
            raise ValueError(f"TransformerSize expects widths divisible by heads, got {self.widths} and {self.heads}.")
        sides = [2**stage for stage in reversed(range(stages))]
        if any(side % reduction for side, reduction in zip(sides, self.reductions, strict=True)):
            raise ValueError(
                f"TransformerSize expects reductions that divide {sides}, the sides of the smallest maps, "
                f"got {self.reductions}."
            )


SIZES = {
    "tiny": TransformerSize(widths=(32, 64, 160, 256), depths=(2, 2, 2, 2)),
    "small": TransformerSize(widths=(64, 128, 320, 512), depths=(2, 2, 2, 2)),
    "base": TransformerSize(widths=(64, 128, 320, 512), depths=(3, 4, 6, 3)),
}


def to_map(tokens: Tensor, height: int, width: int) -> Tensor:
    """Reshapes (B, N, D) to (B, D, H, W), as a view in channels-last memory format."""
    return tokens.reshape(tokens.shape[0], height, width, tokens.shape[2]).permute(0, 3, 1, 2)


def to_tokens(feature_map: Tensor) -> Tensor:
    """Reshapes (B, D, H, W) to (B, N, D), as a view for channels-last memory format."""
    return feature_map.permute(0, 2, 3, 1).flatten(1, 2)


class PatchEmbedding(nn.Module):
    """Overlapping patch embedding by a strided convolution and a layer norm."""

    def __init__(self, in_channels: int, width: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.projection = nn.Conv2d(in_channels, width, kernel, stride, padding=kernel // 2)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> tuple[Tensor, int, int]:
        """Maps (B, C, H, W) to tokens (B, N, D), and returns the H and W of their grid."""
        x = self.projection(x)
        height, width = x.shape[2], x.shape[3]
        return self.norm(to_tokens(x)), height, width

    def permutable(self, declare: Declaration, entering: Axis) -> Axis:
        """Declares the token channels, which the whole stage shares."""
        stream = declare.group("stream", self.projection.out_channels)
        declare.layer("projection", entering, stream)
        declare.norm("norm", stream)
        return stream


class SpatialReductionAttention(nn.Module):
    """Multi-head attention with keys and values at a resolution reduced by `reduction` (PVT, ICCV 2021, eq. 1-4)."""

    def __init__(self, width: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.reduction = reduction
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.output = nn.Linear(width, width)
        self.shrink = nn.Conv2d(width, width, reduction, reduction) if reduction > 1 else nn.Identity()
        self.shrink_norm = nn.LayerNorm(width) if reduction > 1 else nn.Identity()

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        """(B, N, D) to (B, N, D)."""
        batch, count, depth = x.shape
        query = self.query(x).reshape(batch, count, self.heads, depth // self.heads).transpose(1, 2)
        context = x
        if self.reduction > 1:
            context = self.shrink_norm(to_tokens(self.shrink(to_map(x, height, width))))
        key_value = self.key_value(context).reshape(batch, -1, 2, self.heads, depth // self.heads)
        key, value = key_value.permute(2, 0, 3, 1, 4).unbind(0)
        attended = F.scaled_dot_product_attention(query, key, value)
        mixed: Tensor = self.output(attended.transpose(1, 2).reshape(batch, count, depth))
        return mixed

    def permutable(self, declare: Declaration, stream: Axis) -> None:
        """Declares the channels of the reduced map, and the heads."""
        width, context = self.output.in_features, stream
        if self.reduction > 1:
            context = declare.group("shrunk", width)
            declare.layer("shrink", stream, context)
            declare.norm("shrink_norm", context)
        _, keys, values = declare.heads(self.heads, width)
        declare.layer("query", stream, keys)
        declare.layer("key_value", context, keys + values)
        declare.layer("output", values, stream)


class ConvolutionalMLP(nn.Module):
    """MLP with a depthwise 3 x 3 convolution between two linear layers, which encodes position by its zero padding."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.expand = nn.Linear(width, hidden)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.contract = nn.Linear(hidden, width)

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        """(B, N, D) to (B, N, D)."""
        x = self.depthwise(to_map(self.expand(x), height, width))
        contracted: Tensor = self.contract(F.gelu(to_tokens(x)))
        return contracted

    def permutable(self, declare: Declaration, stream: Axis) -> None:
        """Declares the hidden units."""
        hidden = declare.group("hidden", self.expand.out_features)
        declare.layer("expand", stream, hidden)
        declare.depthwise("depthwise", hidden)
        declare.layer("contract", hidden, stream)


class TransformerBlock(nn.Module):
    """Pre-norm transformer block of attention and MLP, each with a residual connection."""

    def __init__(self, width: int, heads: int, reduction: int, mlp_ratio: int, drop_path: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width, eps=1e-6)
        self.attention = SpatialReductionAttention(width, heads, reduction)
        self.mlp_norm = nn.LayerNorm(width, eps=1e-6)
        self.mlp = ConvolutionalMLP(width, width * mlp_ratio)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        """(B, N, D) to (B, N, D)."""
        x = x + self.drop_path(self.attention(self.attention_norm(x), height, width))
        return x + self.drop_path(self.mlp(self.mlp_norm(x), height, width))

    def permutable(self, declare: Declaration, stream: Axis) -> None:
        """Declares both branches on the residual stream of the stage."""
        declare.norm("attention_norm", stream)
        declare.child("attention", stream)
        declare.norm("mlp_norm", stream)
        declare.child("mlp", stream)


class TransformerStage(nn.Module):
    """A stage of the encoder: patch embedding, transformer blocks and a final norm."""

    def __init__(self, embedding: PatchEmbedding, blocks: list[TransformerBlock], width: int) -> None:
        super().__init__()
        self.embedding = embedding
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, H, W) to (B, D, H/s, W/s)."""
        tokens, height, width = self.embedding(x)
        for block in self.blocks:
            tokens = block(tokens, height, width)
        return to_map(self.norm(tokens), height, width)

    def permutable(self, declare: Declaration, entering: Axis) -> Axis:
        """Declares one residual stream from the embedding to the final norm."""
        stream: Axis = declare.child("embedding", entering)
        for index in range(len(self.blocks)):
            declare.child(f"blocks.{index}", stream)
        declare.norm("norm", stream)
        return stream


class HierarchicalTransformer(nn.Module):
    """Shared encoder that returns four feature maps at strides 4, 8, 16 and 32.

    It maps (B, C, H, W), where H and W are multiples of 32; after a stem, (B, 32, H/2, W/2).

    Args:
        size: 'tiny' (3.4M parameters), 'small' (13M) or 'base' (24M); or a `TransformerSize`.
        in_channels: number of image channels C; not used after a stem.
        drop_path: stochastic depth rate of the last block; it increases linearly over the blocks.
        after_stem: whether the input is the map of a `DetailStem` at stride 2, which `MTMedFormer` then computes,
            instead of an image: convolutions before the transformer ease its training (Xiao et al., NeurIPS 2021).
            ImageNet weights of PVT v2 fit an encoder without.

    Raises:
        ValueError: if the size is unknown.

    Example:
        >>> import torch
        >>> maps = HierarchicalTransformer("tiny")(torch.zeros(1, 1, 64, 96))
        >>> [tuple(m.shape) for m in maps]
        [(1, 32, 16, 24), (1, 64, 8, 12), (1, 160, 4, 6), (1, 256, 2, 3)]
    """

    def __init__(
        self,
        size: str | TransformerSize = "tiny",
        in_channels: int = 1,
        drop_path: float = 0.1,
        after_stem: bool = False,
    ) -> None:
        super().__init__()
        if isinstance(size, str) and size not in SIZES:
            raise ValueError(f"size expects one of {sorted(SIZES)} or a TransformerSize, got {size!r}.")
        chosen = SIZES[size] if isinstance(size, str) else size
        self.channels = tuple(chosen.widths)
        self.strides = tuple(4 * 2**stage for stage in range(len(chosen.widths)))
        self.after_stem = after_stem
        first = (STEM_WIDTHS[-1], 3, 2) if after_stem else (in_channels, 7, 4)
        self.stages = nn.ModuleList(_make_stages(chosen, first, drop_path))
        self.apply(_initialize)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Returns the feature maps, finest first."""
        maps: list[Tensor] = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    def permutable(self, declare: Declaration, entering: Axis = FIXED) -> list[Axis]:
        """Declares one residual stream per stage; image channels are fixed, and those of a stem are its own."""
        maps: list[Axis] = []
        for index in range(len(self.stages)):
            maps.append(declare.child(f"stages.{index}", maps[-1] if maps else entering))
        return maps


def _make_stages(size: TransformerSize, first: tuple[int, int, int], drop_path: float) -> list[TransformerStage]:
    """Returns the stages; `first` gives the input channels, kernel and stride of the first patch embedding."""
    total = sum(size.depths)
    rates = [drop_path * index / max(total - 1, 1) for index in range(total)]
    stages = []
    in_channels, kernel, stride = first
    for index, (width, depth) in enumerate(zip(size.widths, size.depths, strict=True)):
        embedding = PatchEmbedding(in_channels, width, kernel, stride)
        settings = (size.heads[index], size.reductions[index], size.mlp_ratios[index])
        blocks = [TransformerBlock(width, *settings, rates.pop(0)) for _ in range(depth)]
        stages.append(TransformerStage(embedding, blocks, width))
        in_channels, kernel, stride = width, 3, 2
    return stages


def _initialize(module: nn.Module) -> None:
    """Initializes linear layers from a truncated normal (std 0.02) and convolutions by fan-out, as in PVT v2."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=(2.0 / fan_out) ** 0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
