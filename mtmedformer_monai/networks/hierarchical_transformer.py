"""The default encoder: a hierarchical vision transformer without a positional table.

Overlapping patch embeddings, spatial-reduction attention and a depthwise convolution in the MLP, as in PVT v2
(Wang et al., Computational Visual Media 2022) and SegFormer's MiT (Xie et al., NeurIPS 2021). Position comes from
the zero padding of the convolutions, so any image size fits. The sizes equal PVT v2 B0, B1 and B2, whose ImageNet
weights load through `mtmedformer_monai.networks.pretrained`.

Axes: B batch, N tokens (row-major), D width, H and W of the feature map.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from monai.networks.layers import DropPath
from torch import Tensor, nn

from mtmedformer_monai.layers.group_declaration import Declaration
from mtmedformer_monai.layers.permutation_groups import FIXED, Axis


@dataclass(frozen=True)
class TransformerSize:
    """Widths and depths of the stages, four at strides 4, 8, 16 and 32."""

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    heads: tuple[int, ...] = (1, 2, 5, 8)
    reductions: tuple[int, ...] = (8, 4, 2, 1)
    mlp_ratios: tuple[int, ...] = (8, 8, 4, 4)

    def __post_init__(self) -> None:
        """Checks that the stages fit.

        Raises:
            ValueError: tuples of different lengths, or a width that its heads don't divide.
        """
        stages = len(self.widths)
        if any(len(each) != stages for each in (self.depths, self.heads, self.reductions, self.mlp_ratios)):
            raise ValueError(f"TransformerSize expects tuples of one length, a value a stage, got {self}.")
        if any(width % heads for width, heads in zip(self.widths, self.heads, strict=True)):
            raise ValueError(f"TransformerSize expects widths that heads divide, got {self.widths} and {self.heads}.")


SIZES = {
    "tiny": TransformerSize(widths=(32, 64, 160, 256), depths=(2, 2, 2, 2)),
    "small": TransformerSize(widths=(64, 128, 320, 512), depths=(2, 2, 2, 2)),
    "base": TransformerSize(widths=(64, 128, 320, 512), depths=(3, 4, 6, 3)),
}


def to_map(tokens: Tensor, height: int, width: int) -> Tensor:
    """(B, N, D) to (B, D, H, W), as a view in channels-last memory."""
    return tokens.reshape(tokens.shape[0], height, width, tokens.shape[2]).permute(0, 3, 1, 2)


def to_tokens(feature_map: Tensor) -> Tensor:
    """(B, D, H, W) to (B, N, D); a view where the memory is channels-last."""
    return feature_map.permute(0, 2, 3, 1).flatten(1, 2)


class PatchEmbedding(nn.Module):
    """Overlapping strided convolution and a layer norm: (B, C, H, W) to tokens at 1/stride."""

    def __init__(self, in_channels: int, width: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.projection = nn.Conv2d(in_channels, width, kernel, stride, padding=kernel // 2)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> tuple[Tensor, int, int]:
        """Returns tokens (B, N, D) and their H and W."""
        x = self.projection(x)
        height, width = x.shape[2], x.shape[3]
        return self.norm(to_tokens(x)), height, width

    def permutable(self, declare: Declaration, entering: Axis) -> Axis:
        """The tokens' channels, which the whole stage shares."""
        stream = declare.group("stream", self.projection.out_channels)
        declare.layer("projection", entering, stream)
        declare.norm("norm", stream)
        return stream


class SpatialReductionAttention(nn.Module):
    """Multi-head attention whose keys and values come from a map shrunk by `reduction` (PVT, ICCV 2021, eq. 1-4)."""

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
        """The shrunk map's channels, and the heads."""
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
    """Two linear layers with a depthwise 3 x 3 convolution between them, the encoder's only source of position."""

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
        """The hidden units."""
        hidden = declare.group("hidden", self.expand.out_features)
        declare.layer("expand", stream, hidden)
        declare.depthwise("depthwise", hidden)
        declare.layer("contract", hidden, stream)


class TransformerBlock(nn.Module):
    """Pre-norm attention and MLP, each on a residual path."""

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
        """Both residual branches read and write the stage's stream."""
        declare.norm("attention_norm", stream)
        declare.child("attention", stream)
        declare.norm("mlp_norm", stream)
        declare.child("mlp", stream)


class TransformerStage(nn.Module):
    """A patch embedding, `depth` blocks and a closing norm."""

    def __init__(self, embedding: PatchEmbedding, blocks: list[TransformerBlock], width: int) -> None:
        super().__init__()
        self.embedding = embedding
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, D, H/s, W/s)."""
        tokens, height, width = self.embedding(x)
        for block in self.blocks:
            tokens = block(tokens, height, width)
        return to_map(self.norm(tokens), height, width)

    def permutable(self, declare: Declaration, entering: Axis) -> Axis:
        """One stream from the embedding to the closing norm."""
        stream: Axis = declare.child("embedding", entering)
        for index in range(len(self.blocks)):
            declare.child(f"blocks.{index}", stream)
        declare.norm("norm", stream)
        return stream


class HierarchicalTransformer(nn.Module):
    """Shared encoder: (B, C, H, W), H and W multiples of 32, to four maps at strides 4, 8, 16 and 32.

    Args:
        size: 'tiny' (3.4M parameters), 'small' (13M) or 'base' (24M); or a `TransformerSize`.
        in_channels: C of the image.
        drop_path: stochastic depth of the last block; earlier ones grow towards it linearly.

    Raises:
        ValueError: unknown size.

    Example:
        >>> maps = HierarchicalTransformer("tiny")(torch.zeros(1, 1, 64, 96))
        >>> [tuple(m.shape) for m in maps]
        [(1, 32, 16, 24), (1, 64, 8, 12), (1, 160, 4, 6), (1, 256, 2, 3)]
    """

    def __init__(self, size: str | TransformerSize = "tiny", in_channels: int = 1, drop_path: float = 0.1) -> None:
        super().__init__()
        if isinstance(size, str) and size not in SIZES:
            raise ValueError(f"size expects one of {sorted(SIZES)} or a TransformerSize, got {size!r}.")
        chosen = SIZES[size] if isinstance(size, str) else size
        self.channels = tuple(chosen.widths)
        self.strides = tuple(4 * 2**stage for stage in range(len(chosen.widths)))
        self.stages = nn.ModuleList(_make_stages(chosen, in_channels, drop_path))
        self.apply(_initialize)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Returns the feature maps, finest first."""
        maps: list[Tensor] = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    def permutable(self, declare: Declaration) -> list[Axis]:
        """A stream a stage; the image's channels keep their order."""
        maps: list[Axis] = []
        for index in range(len(self.stages)):
            maps.append(declare.child(f"stages.{index}", maps[-1] if maps else FIXED))
        return maps


def _make_stages(size: TransformerSize, in_channels: int, drop_path: float) -> list[TransformerStage]:
    total = sum(size.depths)
    rates = [drop_path * index / max(total - 1, 1) for index in range(total)]
    stages = []
    for index, (width, depth) in enumerate(zip(size.widths, size.depths, strict=True)):
        kernel, stride = (7, 4) if index == 0 else (3, 2)
        embedding = PatchEmbedding(in_channels, width, kernel, stride)
        settings = (size.heads[index], size.reductions[index], size.mlp_ratios[index])
        blocks = [TransformerBlock(width, *settings, rates.pop(0)) for _ in range(depth)]
        stages.append(TransformerStage(embedding, blocks, width))
        in_channels = width
    return stages


def _initialize(module: nn.Module) -> None:
    """Truncated normals of 0.02 for linear layers, fan-out normals for convolutions, as in PVT v2."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=(2.0 / fan_out) ** 0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
