"""Names of a network's norm layers."""

from __future__ import annotations

from itertools import chain
from typing import Final

from torch import nn

NORM_PATTERNS: Final = (
    *("*norm.weight", "*norm.bias", "*norm.running_*", "*norm.num_batches_tracked", "*norm[0-9].*", "*norm_*attn.*"),
    *("bn[0-9]*", "*.bn[0-9]*", "*downsample.1.*", "*.N.*"),
)
"""Name patterns of norm layers in our networks, in MONAI's (`N` is that of its blocks) and in torchvision's.

They name the layer itself, as decoders have the names of their tasks, such as `abnormality`.
"""


def norm_parameters(network: nn.Module) -> list[str]:
    """Returns parameters and buffers of all norm layers, which are modules with "Norm" in their class name.

    Example:
        >>> norm_parameters(nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)))
        ['1.weight', '1.bias']
    """
    names = []
    for path, module in network.named_modules():
        if "Norm" in type(module).__name__:
            own = chain(module.named_parameters(recurse=False), module.named_buffers(recurse=False))
            names += [f"{path}.{name}" if path else name for name, _ in own]
    return names
