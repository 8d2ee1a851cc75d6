"""Loads ImageNet weights of timm's PVT v2 into a `HierarchicalTransformer`.

Both have the same architecture and differ only in parameter names. Weights are read from a local file (safetensors or
a state dict), such as one saved from `timm.create_model("pvt_v2_b0", pretrained=True)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from .hierarchical_transformer import HierarchicalTransformer

RENAMES = (
    ("stages_", "stages."),  # of a model made with features_only=True
    (".downsample.", ".embedding."),
    (".proj.", ".projection."),
    (".attn.q.", ".attention.query."),
    (".attn.kv.", ".attention.key_value."),
    (".attn.projection.", ".attention.output."),
    (".attn.sr.", ".attention.shrink."),
    (".attn.norm.", ".attention.shrink_norm."),
    (".norm1.", ".attention_norm."),
    (".norm2.", ".mlp_norm."),
    (".mlp.fc1.", ".mlp.expand."),
    (".mlp.dwconv.", ".mlp.depthwise."),
    (".mlp.fc2.", ".mlp.contract."),
)
"""Substitutions from timm's parameter names to this package's, applied in order."""


def rename_pvt_v2(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames the entries of timm's PVT v2 state dict and drops the classifier `head`."""
    renamed = {}
    for name, value in state.items():
        if name.startswith("head."):
            continue
        name = name.replace("patch_embed.", "stages.0.downsample.", 1) if name.startswith("patch_embed.") else name
        for theirs, ours in RENAMES:
            name = name.replace(theirs, ours)
        renamed[name] = value
    return renamed


def fit_in_channels(weight: Tensor, in_channels: int) -> Tensor:
    """Sums the first convolution (D, 3, k, k) over colors, so that a grayscale image yields the same output."""
    if weight.shape[1] == in_channels:
        return weight
    if in_channels == 1:
        return weight.sum(dim=1, keepdim=True)
    raise ValueError(f"the weights expect {weight.shape[1]} channels, the encoder has {in_channels}; use 1 or 3.")


def load_pvt_v2(encoder: HierarchicalTransformer, path: str | Path) -> HierarchicalTransformer:
    """Loads timm's PVT v2 weights into an encoder of the same size.

    Args:
        encoder: encoder of size 'tiny' (for pvt_v2_b0), 'small' (b1) or 'base' (b2), without a stem.
        path: path of a `.safetensors` file or of a state dict saved by torch.

    Returns:
        The encoder.

    Raises:
        ValueError: if the weights belong to a model of another size, or the encoder follows a stem.
    """
    if encoder.after_stem:
        raise ValueError("PVT v2 starts from the image, and this encoder from a stem; make it with after_stem=False.")
    state = rename_pvt_v2(_read(Path(path)))
    first = "stages.0.embedding.projection.weight"
    own = encoder.state_dict()
    if set(state) != set(own):
        odd = sorted(set(state) ^ set(own))[:3]
        raise ValueError(f"{path} is not a PVT v2 of this encoder's size: only one of the two has {odd}.")
    state[first] = fit_in_channels(state[first], own[first].shape[1])
    wrong = [name for name in own if own[name].shape != state[name].shape]
    if wrong:
        raise ValueError(
            f"{path} has another size: {wrong[0]} is {tuple(state[wrong[0]].shape)}, expected "
            f"{tuple(own[wrong[0]].shape)}; sizes tiny, small, base correspond to pvt_v2_b0, b1, b2."
        )
    encoder.load_state_dict(state)
    return encoder


def _read(path: Path) -> Mapping[str, Tensor]:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        tensors: Mapping[str, Tensor] = load_file(path)
        return tensors
    state: Mapping[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return state
