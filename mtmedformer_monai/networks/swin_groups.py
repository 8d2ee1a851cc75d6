"""Permutation groups of MONAI's 2D Swin transformer.

Each stage has one residual stream. Patch merging concatenates the channels of four neighboring patches, and the
relative position bias table has one column per head.
"""

from __future__ import annotations

from typing import Any

from monai.networks.nets.swin_unetr import SwinTransformer

from mtmedformer_monai.layers.group_declaration import Declaration
from mtmedformer_monai.layers.permutation_groups import FIXED, Axis

NUM_MERGED = 4
"""Number of patches that patch merging concatenates."""


def declare_swin(declare: Declaration) -> list[Axis]:
    """Declares a `SwinTransformer` without a norm after the patch embedding.

    Returns:
        Channels of the maps at strides 4, 8, 16 and 32.
    """
    swin: SwinTransformer = declare.module
    stream = declare.group("stream0", swin.embed_dim)
    declare.layer("patch_embed.proj", FIXED, stream)
    maps = []
    for stage in range(1, swin.num_layers + 1):
        layer = declare.inside(f"layers{stage}.0")
        for block, _ in layer.module.get_submodule("blocks").named_children():
            _declare_block(layer.inside(f"blocks.{block}"), stream)
        leaving = declare.group(f"stream{stage}", swin.embed_dim * 2**stage)
        layer.norm("downsample.norm", stream * NUM_MERGED)
        layer.layer("downsample.reduction", stream * NUM_MERGED, leaving)
        stream = leaving
        maps.append(stream)
    return maps


def _declare_block(declare: Declaration, stream: Axis) -> None:
    """Declares a `SwinTransformerBlock`."""
    attention: Any = declare.module.get_submodule("attn")
    expand: Any = declare.module.get_submodule("mlp.linear1")
    declare.norm("norm1", stream)
    heads, keys, values = declare.heads(attention.num_heads, attention.dim)
    declare.tensor("attn.relative_position_bias_table", FIXED, heads)
    declare.fixed("attn.relative_position_index")
    declare.layer("attn.qkv", stream, keys + keys + values)
    declare.layer("attn.proj", values, stream)
    declare.norm("norm2", stream)
    hidden = declare.group("hidden", expand.out_features)
    declare.layer("mlp.linear1", stream, hidden)
    declare.layer("mlp.linear2", hidden, stream)
