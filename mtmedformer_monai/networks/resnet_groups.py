"""Permutation groups of MONAI's 2D ResNet with group norm in place of batch norm.

A residual path ties all channels that are added along it. If a shortcut is a function without parameters (MONAI's type
A, used in ResNet-18 and ResNet-34), the channels of a stage are those of the previous stage followed by new ones. The
residual path then extends through all stages, and each channel must remain within its group of every norm along the
path, where the group size doubles from stage to stage.
"""

from __future__ import annotations

from typing import cast

from monai.networks.nets.resnet import ResNetBottleneck
from torch import nn

from mtmedformer_monai.layers.group_declaration import Declaration
from mtmedformer_monai.layers.permutation_groups import FIXED, Axis

STAGES = ("layer1", "layer2", "layer3", "layer4")


def declare_resnet(declare: Declaration) -> list[Axis]:
    """Declares a `ResNetFeatures` network with group norms.

    Returns:
        Channels of the maps at strides 4, 8, 16 and 32.
    """
    stem = cast(nn.GroupNorm, declare.module.get_submodule("bn1"))
    stream = _channels(declare, "stem", stem.num_channels, [stem, *_norms_along(declare.module, 0)])
    declare.layer("conv1", FIXED, stream)
    declare.norm("bn1", stream)
    maps = []
    for index, stage in enumerate(STAGES):
        leaving = _leaving(declare, index, stream)
        for block, _ in declare.module.get_submodule(stage).named_children():
            _declare_block(declare.inside(f"{stage}.{block}"), stream, leaving)
            stream = leaving
        maps.append(stream)
    return maps


def _leaving(declare: Declaration, index: int, entering: Axis) -> Axis:
    """Returns the output channels of a stage: the input channels that its shortcut passes through, and new ones."""
    stage, norms = STAGES[index], _norms_along(declare.module, index + 1)
    own = _closing_norm(declare.module.get_submodule(stage))
    kept = FIXED if _has_layers(declare.module, index) else entering
    new = own.num_channels - sum(declare.record.groups[label].size for label in kept)
    return kept + _channels(declare, stage, new, [own, *norms]) if new else kept


def _channels(declare: Declaration, name: str, size: int, norms: list[nn.GroupNorm]) -> Axis:
    """Declares new channels in the blocks that all norms along their residual path require."""
    blocks = {norm.num_channels // norm.num_groups for norm in norms}
    return declare.group(name, size, blocks=sorted((block for block in blocks if block < size), reverse=True))


def _norms_along(resnet: nn.Module, first: int) -> list[nn.GroupNorm]:
    """Returns the final norms of the stages, from `first` on, up to the first shortcut with layers."""
    norms = []
    for index in range(first, len(STAGES)):
        if _has_layers(resnet, index):
            break
        norms.append(_closing_norm(resnet.get_submodule(STAGES[index])))
    return norms


def _has_layers(resnet: nn.Module, index: int) -> bool:
    """Whether the first shortcut of a stage has layers: a convolution and a norm."""
    return isinstance(resnet.get_submodule(f"{STAGES[index]}.0").downsample, nn.Module)


def _closing_norm(stage: nn.Module) -> nn.GroupNorm:
    """Returns the norm before the last addition of a stage."""
    norms = [module for module in stage.modules() if isinstance(module, nn.GroupNorm)]
    return norms[-1]


def _declare_block(declare: Declaration, entering: Axis, leaving: Axis) -> None:
    """Declares a `ResNetBlock` or `ResNetBottleneck`."""
    depth = 3 if isinstance(declare.module, ResNetBottleneck) else 2
    stream = entering
    for layer in range(1, depth + 1):
        norm = cast(nn.GroupNorm, declare.module.get_submodule(f"bn{layer}"))
        inner = leaving if layer == depth else _channels(declare, f"inner{layer}", norm.num_channels, [norm])
        declare.layer(f"conv{layer}", stream, inner)
        declare.norm(f"bn{layer}", inner)
        stream = inner
    if isinstance(declare.module.downsample, nn.Module):
        declare.layer("downsample.0", entering, leaving)
        declare.norm("downsample.1", leaving)
